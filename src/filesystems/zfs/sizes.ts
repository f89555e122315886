/** Numbers as `zfs set` takes them (OpenZFS `lib/libzfs/libzfs_util.c`, `zfs_nicestrtonum`). */

const UNITS = 'BKMGTPE'
const NUMBER = /^(\d{1,16}|\d*\.\d{1,16}|\d{1,16}\.)(?:([BKMGTPE])|([KMGTPE])i?B)?$/i

/** Bytes, from text such as `131072`, `128K`, `1.5GiB`; undefined when it is none, or more than a safe integer. */
export function parseBytes(text: string): number | undefined {
  const [, digits, unit, longUnit] = NUMBER.exec(text) ?? []
  if (digits === undefined || digits === '.') return undefined
  const power = UNITS.indexOf((unit ?? longUnit ?? 'B').toUpperCase())
  const size = Math.floor(Number(digits) * 1024 ** power)
  return Number.isSafeInteger(size) ? size : undefined
}

/** A count: plain digits. */
export function parseCount(text: string): number | undefined {
  const count = /^\d{1,16}$/.test(text) ? Number(text) : undefined
  return count !== undefined && Number.isSafeInteger(count) ? count : undefined
}

export function isPowerOfTwo(value: number): boolean {
  return value > 0 && Number.isInteger(Math.log2(value))
}
