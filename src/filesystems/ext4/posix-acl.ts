/** Access control lists: ext4 stores them shorter than programs see them. */

/** `struct posix_acl_xattr_header` and `posix_acl_xattr_entry` (linux/posix_acl_xattr.h). */
const HEADER_SIZE = 4
const ENTRY_SIZE = 8
const VERSION = 2
/** `ext4_acl_header`, `ext4_acl_entry` and `ext4_acl_entry_short` (fs/ext4/acl.h). */
const DISK_VERSION = 1
const DISK_ENTRY_SIZE = 8
const DISK_SHORT_ENTRY_SIZE = 4

/** Tags of entries for one user or group, which have an id; the others have none on disk. */
const TAGS_WITH_ID = [0x02, 0x08]
const TAGS_WITHOUT_ID = [0x01, 0x04, 0x10, 0x20]

/** From the value as `getxattr` gives it to the form on disk; undefined when it is not of that kind. */
export function aclToDisk(value: Uint8Array): Uint8Array | undefined {
  const count = (value.length - HEADER_SIZE) / ENTRY_SIZE
  if (!Number.isInteger(count) || count < 1) return undefined
  const view = new DataView(value.buffer, value.byteOffset, value.byteLength)
  if (view.getUint32(0, true) !== VERSION) return undefined
  const disk = new Uint8Array(HEADER_SIZE + count * DISK_ENTRY_SIZE)
  new DataView(disk.buffer).setUint32(0, DISK_VERSION, true)
  let end = HEADER_SIZE
  for (let at = HEADER_SIZE; at < value.length; at += ENTRY_SIZE) {
    const tag = view.getUint16(at, true)
    const size = TAGS_WITH_ID.includes(tag) ? DISK_ENTRY_SIZE : DISK_SHORT_ENTRY_SIZE
    if (size === DISK_SHORT_ENTRY_SIZE && !TAGS_WITHOUT_ID.includes(tag)) return undefined
    disk.set(value.subarray(at, at + size), end)
    end += size
  }
  return disk.slice(0, end)
}
