/** The one record of a master boot record, and its partition entries (UEFI 2.10, tables 5.1 to 5.4). */
import { struct } from '../../bytes/struct.ts'

/** The boot record is in sector 0 and 512 bytes long, whatever the sector size of the disk. */
export const bootRecord = struct('MBR', 512, {
  bootCode: [0, 'bytes', 440],
  diskSignature: [440, 'u32le'],
  entry1: [446, 'bytes', 16],
  entry2: [462, 'bytes', 16],
  entry3: [478, 'bytes', 16],
  entry4: [494, 'bytes', 16],
  signature: [510, 'u16le'],
})

export const partitionEntry = struct('MBR partition entry', 16, {
  /** 0x80: active, what a BIOS looks for; 0 otherwise. */
  status: [0, 'u8'],
  startChs: [1, 'bytes', 3],
  type: [4, 'u8'],
  endChs: [5, 'bytes', 3],
  startSector: [8, 'u32le'],
  sectorCount: [12, 'u32le'],
})

export const BOOT_SIGNATURE = 0xaa55

export const PARTITION_TYPE = { empty: 0x00, fat32Lba: 0x0c, linux: 0x83, gptProtective: 0xee, efiSystem: 0xef } as const
