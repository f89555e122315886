/** What Linux takes, and so what every format can hold that Linux reads: names, link targets, owners, devices. */
import { compareBytes } from '../bytes/order.ts'
import { printable } from '../bytes/text.ts'
import type { ErrorCode } from '../errors.ts'
import type { Attributes, DeviceNode, FileNode } from './tree.ts'

/** What is wrong with one node or name; whoever reports it knows the format and the path. */
export interface Problem {
  readonly code: ErrorCode
  readonly message: string
}

/** NAME_MAX. */
export const NAME_MAXIMUM = 255
/** PATH_MAX less its final zero. */
export const PATH_MAXIMUM = 4095
/** XATTR_NAME_MAX and XATTR_SIZE_MAX. */
export const XATTR_NAME_MAXIMUM = 255
export const XATTR_VALUE_MAXIMUM = 65536
/** The largest number of 32 bits means "no id", and to chown "leave the owner as it is". */
export const ID_MAXIMUM = 0xfffffffe
const MODE_MAXIMUM = 0o7777
/** 12 and 20 bits (`new_encode_dev`). */
export const DEVICE_MAJOR_MAXIMUM = 0xfff
export const DEVICE_MINOR_MAXIMUM = 0xfffff

const SLASH = 0x2f
const DOT = 0x2e
/** Of a name that is too long, in messages. */
const SHOWN_LENGTH = 40

/** Whether an entry of a directory can have this name. */
export function isEntryName(name: Uint8Array): boolean {
  let dots = 0
  for (const byte of name) {
    if (byte === SLASH || byte === 0) return false
    if (byte === DOT) dots++
  }
  return name.length > 2 || dots < name.length
}

/** USAGE for a name that no entry can have, or that of the entry before it in order; LIMIT for one of more than `most` bytes. */
export function entryNameProblem(name: Uint8Array, before?: Uint8Array, most = NAME_MAXIMUM): Problem | undefined {
  if (!isEntryName(name)) return { code: 'USAGE', message: `'${printable(name)}' cannot be the name of an entry; rename it` }
  if (before !== undefined && compareBytes(before, name) === 0) {
    return { code: 'USAGE', message: `there are two entries named '${printable(name)}'; rename one` }
  }
  if (name.length <= most) return undefined
  const shown = `${printable(name).slice(0, SHOWN_LENGTH)}...`
  return { code: 'LIMIT', message: `the name '${shown}' is ${name.length} bytes, Linux allows ${most}; shorten it` }
}

/** `most`: bytes; default: those that Linux follows. */
export function linkTargetProblem(target: Uint8Array, most = PATH_MAXIMUM): Problem | undefined {
  if (target.length === 0) return { code: 'USAGE', message: 'the link has no target; give it one' }
  if (target.includes(0)) return { code: 'USAGE', message: 'the link target holds a zero byte; no system follows it' }
  if (target.length <= most) return undefined
  return { code: 'LIMIT', message: `the link target is ${target.length} bytes, Linux allows ${most}; shorten it` }
}

/** `times`: first and last second that the format can hold. */
export function attributesProblem({ mode, uid, gid, mtimeSeconds }: Attributes, ...times: readonly [number, number]): Problem | undefined {
  if (rangeProblem('mode', mode, 0, MODE_MAXIMUM) !== undefined) {
    return { code: 'LIMIT', message: `mode is 0${mode.toString(8)}; it can be permission bits, 0 to 07777` }
  }
  return (
    rangeProblem('user id', uid, 0, ID_MAXIMUM) ??
    rangeProblem('group id', gid, 0, ID_MAXIMUM) ??
    rangeProblem('modification time', mtimeSeconds, ...times)
  )
}

export function deviceProblem(
  { major, minor }: DeviceNode,
  [majorMost, minorMost]: readonly [number, number] = [DEVICE_MAJOR_MAXIMUM, DEVICE_MINOR_MAXIMUM],
): Problem | undefined {
  return rangeProblem('major number', major, 0, majorMost) ?? rangeProblem('minor number', minor, 0, minorMost)
}

/** A file whose size is no number, or another than that of a content in memory or of an image. */
export function fileProblem({ content, size }: FileNode, most = Number.MAX_SAFE_INTEGER): Problem | undefined {
  const problem = rangeProblem('size', size, 0, most)
  if (problem !== undefined || content.kind === 'hostFile' || content.kind === 'patched') return problem
  const actual = content.kind === 'bytes' ? content.bytes.length : content.image.size
  return actual === size ? undefined : { code: 'USAGE', message: `the content is ${actual} bytes, the node says ${size}` }
}

/** LIMIT for what is no whole number from `least` to `most`. */
export function rangeProblem(what: string, value: number, least: number, most: number): Problem | undefined {
  if (Number.isSafeInteger(value) && value >= least && value <= most) return undefined
  return { code: 'LIMIT', message: `${what} is ${value}; it can be a whole number from ${least} to ${most}` }
}
