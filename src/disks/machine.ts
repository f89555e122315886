/** The machine that a disk is given with, in containers that describe one. */
export const DISK_CONTROLLERS = ['sata', 'lsilogic', 'ide'] as const
export const FIRMWARES = ['efi', 'bios'] as const
export const MANIFEST_DIGESTS = ['sha256', 'sha1'] as const

export interface MachineOptions {
  /** Virtual CPUs, 1 to 128. Default 2. */
  readonly cpuCount?: number
  /** Bytes of memory, whole MiB. Default 1536 MiB. */
  readonly memorySize?: number
  /** Of VMware, 4 to 99; an importer takes its own and older ones. Default 10, which ESXi 5.5 and later take. */
  readonly hardwareVersion?: number
  /** What the disks are attached to. Default sata, for which every system has drivers; VMware knows it from hardware version 10 on. */
  readonly diskController?: (typeof DISK_CONTROLLERS)[number]
  /** What starts the machine. Default: efi, but for the disk layouts that are for a BIOS. */
  readonly firmware?: (typeof FIRMWARES)[number]
  /** Of the sums in the manifest. Default sha256; sha1 for importers from before ESXi 6.5. */
  readonly manifestDigest?: (typeof MANIFEST_DIGESTS)[number]
}

const KEYS = ['cpuCount', 'memorySize', 'hardwareVersion', 'diskController', 'firmware', 'manifestDigest'] as const

/** What of them is given. */
export function machineOf(options: MachineOptions): MachineOptions {
  return Object.fromEntries(KEYS.flatMap((key) => (options[key] === undefined ? [] : [[key, options[key]]])))
}
