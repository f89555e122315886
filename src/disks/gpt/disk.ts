/** Records of a GUID partition table (UEFI 2.10, 5.3). */
import { guidFromText } from '../../bytes/guid.ts'
import { struct } from '../../bytes/struct.ts'

/** UEFI 2.10, table 5.5. The rest of its sector is zero. */
export const header = struct('GPT header', 92, {
  signature: [0, 'bytes', 8],
  revision: [8, 'u32le'],
  headerSize: [12, 'u32le'],
  /** CRC-32 of the header with this field zero. */
  headerCrc32: [16, 'u32le'],
  mySector: [24, 'u64le'],
  alternateSector: [32, 'u64le'],
  firstUsableSector: [40, 'u64le'],
  lastUsableSector: [48, 'u64le'],
  diskGuid: [56, 'bytes', 16],
  entryArraySector: [72, 'u64le'],
  entryCount: [80, 'u32le'],
  entrySize: [84, 'u32le'],
  entryArrayCrc32: [88, 'u32le'],
})

/** UEFI 2.10, table 5.6. */
export const entry = struct('GPT partition entry', 128, {
  typeGuid: [0, 'bytes', 16],
  partitionGuid: [16, 'bytes', 16],
  startSector: [32, 'u64le'],
  /** The last sector that belongs to the partition. */
  lastSector: [40, 'u64le'],
  attributes: [48, 'u64le'],
  /** 36 UTF-16LE code units. */
  name: [56, 'bytes', 72],
})

export const SIGNATURE = new TextEncoder().encode('EFI PART')
export const REVISION = 0x00010000

/** Partition type GUIDs as bytes on disk. */
export const PARTITION_TYPE_GUID = {
  efiSystem: guidFromText('C12A7328-F81F-11D2-BA4B-00A0C93EC93B'),
  basicData: guidFromText('EBD0A0A2-B9E5-4433-87C0-68B6B72699C7'),
  linuxData: guidFromText('0FC63DAF-8483-4772-8E79-3D69D8477DE4'),
  biosBoot: guidFromText('21686148-6449-6E6F-744E-656564454649'),
  /** Of ZFS on Linux, illumos' `/usr` (OpenZFS `lib/libefi/rdwr_efi.c`). */
  zfs: guidFromText('6A898CC3-1DD2-11B2-99A6-080020736631'),
  /** What illumos keeps behind it on a disk that is ZFS's as a whole. */
  solarisReserved: guidFromText('6A945A3B-1DD2-11B2-99A6-080020736631'),
  /** XBOOTLDR of the Discoverable Partitions Specification. */
  extendedBoot: guidFromText('BC13C2FF-59E6-4262-A352-B275FD6F7172'),
} as const

/** Of root file systems, by the CPU of a system of Nix (Discoverable Partitions Specification, "Defined Partition Type UUIDs"). */
export const ROOT_TYPE_GUID: Readonly<Record<string, Uint8Array>> = {
  x86_64: guidFromText('4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709'),
  i686: guidFromText('44479540-F297-41B2-9AF7-D131D5F0458A'),
  aarch64: guidFromText('B921B045-1DF0-41C3-AF44-4C6F280D3FAE'),
  armv6l: guidFromText('69DAD710-2CE4-4E3C-B16C-21A1D49ABED3'),
  armv7l: guidFromText('69DAD710-2CE4-4E3C-B16C-21A1D49ABED3'),
  riscv64: guidFromText('72EC70A6-CF74-40E6-BD49-4BDA08E8F224'),
  loongarch64: guidFromText('77055800-792C-4F94-B39A-98C91B762BB6'),
  powerpc64: guidFromText('912ADE1D-A839-4913-8964-A10EEE08FBD2'),
  powerpc64le: guidFromText('C31C45E6-3F39-412E-80FB-4809C4980599'),
  s390x: guidFromText('5EEAD9A9-FE09-4A1E-A1D7-520D00531306'),
}

/** Attribute bits (UEFI 2.10, table 5.8; bit 60 by Microsoft and the Discoverable Partitions Specification). */
export const ATTRIBUTE = { required: 1n, legacyBiosBootable: 1n << 2n, readOnly: 1n << 60n } as const
