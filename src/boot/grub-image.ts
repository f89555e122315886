/**
 * Where a GRUB image looks for its menu: in its prefix, which it carries among its modules (GNU GRUB 2.06,
 * `include/grub/kernel.h`, `grub-core/kern/main.c`: grub_set_prefix_and_root; `util/mkimage.c`).
 */
import { struct } from '../bytes/struct.ts'

/** What GRUB says when it starts; also how an image of it is known. */
export const GRUB_GREETING = 'Welcome to GRUB!'

const MAGIC = 'mimg'
/** `grub_module_info64`, and behind it the modules. */
const MODULES_64 = struct('GRUB modules', 24, { offset: [8, 'u64le'], size: [16, 'u64le'] })
/** `grub_module_info32` */
const MODULES_32 = struct('GRUB modules', 12, { offset: [4, 'u32le'], size: [8, 'u32le'] })
/** `grub_module_header`; the size is with it. */
const MODULE = struct('GRUB module', 8, { type: [0, 'u32le'], size: [4, 'u32le'] })
/** Behind a device, if there is one. */
const PLAIN_PATH = /^(?:\([^()]*\))?((?:\/[0-9A-Za-z_+-][0-9A-Za-z._+-]*)+)$/
/** OBJ_TYPE_PREFIX */
const PREFIX = 3

/** The prefix of an image of GRUB without the device that may stand before it; undefined where it has none that is a path. */
export function grubPrefix(program: Buffer): string | undefined {
  // The letters stand elsewhere too; what they begin is taken only if it fits.
  for (let at = program.indexOf(MAGIC); at !== -1; at = program.indexOf(MAGIC, at + 1)) {
    const bytes = program.subarray(at)
    if (bytes.length < MODULES_64.size) return undefined
    const { fields: wide } = MODULES_64
    const { fields: narrow } = MODULES_32
    const prefix =
      prefixIn(bytes, MODULES_64.size, Number(bytes.readBigUInt64LE(wide.offset[0])), Number(bytes.readBigUInt64LE(wide.size[0]))) ??
      prefixIn(bytes, MODULES_32.size, bytes.readUInt32LE(narrow.offset[0]), bytes.readUInt32LE(narrow.size[0]))
    if (prefix !== undefined) return PLAIN_PATH.exec(prefix)?.[1]
  }
  return undefined
}

/** The modules begin right behind their header, of `headerSize` bytes, and end `size` bytes from its beginning on. */
function prefixIn(bytes: Buffer, headerSize: number, offset: number, size: number): string | undefined {
  if (offset !== headerSize || size > bytes.length) return undefined
  const { fields } = MODULE
  let at = headerSize
  while (at + MODULE.size <= size) {
    const length = bytes.readUInt32LE(at + fields.size[0])
    if (length < MODULE.size || at + length > size) return undefined
    const content = bytes.subarray(at + MODULE.size, at + length)
    if (bytes.readUInt32LE(at + fields.type[0]) === PREFIX) return content.toString('latin1').replace(/\0.*$/s, '')
    at += length
  }
  return undefined
}
