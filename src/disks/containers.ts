/** Every container of a disk, a line each. A new one is a folder with its `container.ts`, and a line here. */
import { containerRegistry } from './container.ts'
import { OVA } from './ova/container.ts'
import { QCOW2, QCOW2_COMPRESSED } from './qcow2/container.ts'
import { RAW } from './raw/container.ts'
import { RAW_TAR } from './raw-tar/container.ts'
import { VDI } from './vdi/container.ts'
import { VHD, VHD_FIXED } from './vhd/container.ts'
import { VHDX } from './vhdx/container.ts'
import { VMDK, VMDK_STREAM } from './vmdk/container.ts'

/** In the order of help and messages. */
export const CONTAINERS = containerRegistry([RAW, QCOW2, QCOW2_COMPRESSED, VDI, VHD, VHD_FIXED, VHDX, VMDK, VMDK_STREAM, OVA, RAW_TAR])

/** Containers that can be written. */
export type OutputFormat = (typeof CONTAINERS.outputFormats)[number]

/** Containers that can be read. */
export type InputFormat = (typeof CONTAINERS.inputFormats)[number]

/** Containers that can hold the disks of a ZFS pool. */
export type PoolFormat = (typeof CONTAINERS.poolFormats)[number]
