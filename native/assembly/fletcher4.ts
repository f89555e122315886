/**
 * Fletcher's checksum with four sums of 64 bits over little-endian words of 32 bits (OpenZFS `module/zcommon/zfs_fletcher.c`).
 * `src/filesystems/zfs/fletcher4-twin.ts` is the same in plain TypeScript.
 */

/** Add `length` bytes, a multiple of 4, to the four sums at `sums`. */
export function fletcher4(source: usize, length: usize, sums: usize): void {
  let a = load<u64>(sums)
  let b = load<u64>(sums, 8)
  let c = load<u64>(sums, 16)
  let d = load<u64>(sums, 24)
  const end = source + length
  for (; source < end; source += 4) {
    a += <u64>load<u32>(source)
    b += a
    c += b
    d += c
  }
  store<u64>(sums, a)
  store<u64>(sums, b, 8)
  store<u64>(sums, c, 16)
  store<u64>(sums, d, 24)
}
