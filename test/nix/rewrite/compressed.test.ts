/** References in content that is compressed as a whole, in one part or in several. */
import { gzipSync, zstdCompressSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { holdsCompressed } from '../../../src/nix/rewrite/compressed.ts'

describe('a file that is compressed as a whole', () => {
  const [other, wanted] = [Buffer.from('nothing of that'), Buffer.from('here it is')]
  const skippable = Buffer.from([0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3])
  const finder = {
    find(bytes: Uint8Array, found: () => void): void {
      if (Buffer.from(bytes).includes(wanted)) found()
    },
  } as unknown as Parameters<typeof holdsCompressed>[2]
  const holds = (kind: 'gzip' | 'zstd', ...parts: Buffer[]): boolean | undefined => {
    const bytes = Buffer.concat(parts)
    return holdsCompressed(
      { kind: 'file', mode: 0o444, uid: 0, gid: 0, mtimeSeconds: 1, content: { kind: 'bytes', bytes }, size: bytes.length },
      kind,
      finder,
    )
  }

  it('is searched to its end, however many members or frames it has', () => {
    expect(holds('gzip', gzipSync(other), gzipSync(wanted))).toBe(true)
    expect(holds('zstd', zstdCompressSync(other), skippable, zstdCompressSync(wanted))).toBe(true)
    expect(holds('zstd', zstdCompressSync(other), zstdCompressSync(other))).toBe(false)
  })

  it('is not known where something else stands behind it', () => {
    expect(holds('zstd', zstdCompressSync(other), Buffer.from('more'))).toBeUndefined()
  })
})
