/**
 * Reads initrds as the kernel does: archives one after another, each by itself compressed or not (`init/initramfs.c`).
 * Where an archive ends is known of zstd and xz; one that is compressed otherwise has to be the last.
 */
import { gunzipSync, zstdDecompressSync } from 'node:zlib'
import { run, runOk } from '../oracles/tools.ts'
import { type CpioEntry, readCpioMember } from './cpio-reader.ts'
import { readZstdFrame } from './zstd-frame-reader.ts'

export interface InitrdMember {
  /** From the beginning of the initrd; a multiple of 4. */
  readonly start: number
  readonly codec: 'none' | 'gzip' | 'zstd' | 'xz' | 'lz4'
  readonly entries: readonly CpioEntry[]
}

const MAGICS = { none: '0707', gzip: '\x1f\x8b', zstd: '\x28\xb5\x2f\xfd', xz: '\xfd7zXZ', lz4: '\x02\x21\x4c\x18' } as const

export function readInitrd(bytes: Buffer): InitrdMember[] {
  const members: InitrdMember[] = []
  let at = 0
  while (true) {
    while (at < bytes.length && bytes[at] === 0) at++
    if (at === bytes.length) return members
    if (at % 4 !== 0) throw new Error(`an archive begins at ${at}, which is no multiple of 4`)
    const { codec, entries, end } = readMember(bytes, at)
    members.push({ start: at, codec, entries })
    at = end
  }
}

/** All records of all archives by name; a later one of the same name counts, as when they are unpacked. */
export function unpackedInitrd(members: readonly InitrdMember[]): ReadonlyMap<string, CpioEntry> {
  return new Map(members.flatMap(({ entries }) => entries.map((entry) => [entry.name.toString('latin1'), entry] as const)))
}

function readMember(bytes: Buffer, at: number): Omit<InitrdMember, 'start'> & { readonly end: number } {
  const codec = codecAt(bytes, at)
  if (codec === 'none') return { codec, ...readCpioMember(bytes, at) }
  const end = endOf(codec, bytes, at)
  const plain = decompressed(codec, bytes.subarray(at, end))
  const member = readCpioMember(plain)
  // Other tools fill up with zeros.
  if (plain.subarray(member.end).some((byte) => byte !== 0)) throw new Error(`the archive at ${at} goes on behind its end`)
  return { codec, entries: member.entries, end }
}

function endOf(codec: InitrdMember['codec'], bytes: Buffer, at: number): number {
  if (codec === 'zstd') return at + readZstdFrame(bytes.subarray(at)).frameSize
  if (codec !== 'xz') return bytes.length
  // The footer ends with YZ, and then comes another archive (The .xz File Format 1.2.1, 2.1.2.4).
  for (let end = bytes.indexOf('YZ', at); end !== -1; end = bytes.indexOf('YZ', end + 1)) {
    let next = end + 2
    while (next < bytes.length && bytes[next] === 0) next++
    if (next === bytes.length || (next % 4 === 0 && findCodec(bytes, next) !== undefined)) return end + 2
  }
  throw new Error(`the xz stream at ${at} has no end`)
}

function findCodec(bytes: Buffer, at: number): InitrdMember['codec'] | undefined {
  for (const [codec, magic] of Object.entries(MAGICS)) {
    if (bytes.subarray(at, at + magic.length).equals(Buffer.from(magic, 'latin1'))) return codec as InitrdMember['codec']
  }
  return undefined
}

function codecAt(bytes: Buffer, at: number): InitrdMember['codec'] {
  const codec = findCodec(bytes, at)
  if (codec === undefined) throw new Error(`no archive begins at ${at}: ${bytes.subarray(at, at + 8).toString('hex')}`)
  return codec
}

function decompressed(codec: Exclude<InitrdMember['codec'], 'none'>, bytes: Buffer): Buffer {
  switch (codec) {
    case 'gzip':
      return gunzipSync(bytes)
    case 'zstd':
      return zstdDecompressSync(bytes)
    case 'xz':
      return runOk('xz', ['-dc'], { input: bytes }).stdout
    case 'lz4':
      return decompressedLz4(bytes)
  }
}

/** A legacy frame does not say where it ends; zeros after it, of which Linux takes four for the end, are none of it for lz4. */
function decompressedLz4(bytes: Buffer): Buffer {
  for (let cut = 0; cut < 8; cut++) {
    const { status, stdout } = run('lz4', ['-dc'], { input: bytes.subarray(0, bytes.length - cut) })
    if (status === 0) return stdout
    if (bytes.at(-1 - cut) !== 0) break
  }
  throw new Error('lz4 does not take the archive')
}
