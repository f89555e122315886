/** The implanted MD5, by a few lines of our own and by isomd5sum's programs. */
import { createHash } from 'node:crypto'
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { Iso9660Options } from '../../../src/filesystems/iso9660/index.ts'
import { mergeTrees } from '../../../src/tree/merge.ts'
import type { DirectoryNode } from '../../../src/tree/tree.ts'
import { noise } from '../../codecs/samples.ts'
import { oracle, run, runOk } from '../../oracles/tools.ts'
import { BOOT, BOOT_CODE, bootTree, DISK_GUID, directory, file, growing, owner, packToFile, scratchFolder } from './volumes.ts'

const folder = scratchFolder()

/** Where the field is: byte 883 of the descriptor in block 16. */
const FIELD = 16 * 2048 + 883
const fieldOf = (bytes: Buffer): string => bytes.toString('latin1', FIELD, FIELD + 512)

/** As libimplantisomd5.c reads: 32 KiB at a time, a sum after the first read of each fragment but the first. */
function expectedField(image: Buffer): string {
  const bytes = Buffer.from(image).fill(' ', FIELD, FIELD + 512)
  const size = bytes.length - 15 * 2048
  const fragmentSize = Math.floor(size / 21)
  const hash = createHash('md5')
  let sums = ''
  let previous = 0
  for (let offset = 0; offset < size; offset += 32768) {
    hash.update(bytes.subarray(offset, Math.min(size, offset + 32768)))
    const current = Math.floor(offset / fragmentSize)
    if (current === previous) continue
    const digest = hash.copy().digest()
    for (const byte of digest.subarray(0, 3)) sums += byte.toString(16).charAt(0)
    previous = current
  }
  expect(sums).toHaveLength(60)
  const text = `ISO MD5SUM = ${hash.digest('hex')};SKIPSECTORS = 15;RHLISOSTATUS=0;FRAGMENT SUMS = ${sums};FRAGMENT COUNT = 20;`
  return `${text}THIS IS NOT THE SAME AS RUNNING MD5SUM ON THIS ISO!!`.padEnd(512, ' ')
}

const tree = (size: number): DirectoryNode => mergeTrees(bootTree(4000), directory({ noise: file(noise(size, size)) }))

const CASES: readonly (readonly [name: string, size: number, options: Partial<Iso9660Options>])[] = [
  ['no hybrid', 700_001, {}],
  ['no Joliet', 2_000_000, { joliet: false }],
  ['gpt', 1_500_000, { boot: BOOT, hybrid: { kind: 'gpt', diskGuid: DISK_GUID } }],
  ['nixpkgs', 3_000_000, { boot: BOOT, hybrid: { kind: 'nixpkgs', diskGuid: DISK_GUID, bootCode: BOOT_CODE } }],
  ['a growing file', 10_000, { growingFile: { path: '/packed', mode: 0o444, ...owner, image: growing(noise(1_234_567, 1)) } }],
]

const image = async (size: number, options: Partial<Iso9660Options>): Promise<string> =>
  (await packToFile(folder, `${size}.iso`, tree(size), { mediaCheck: true, ...options })).path

describe.each(CASES)('%s', (_, size, options) => {
  it('has the sums that isomd5sum reads, and nothing else is another', async () => {
    const bytes = readFileSync(await image(size, options))
    expect(fieldOf(bytes)).toBe(expectedField(bytes))
    const plain = readFileSync(await image(size, { ...options, mediaCheck: false }))
    expect(plain.fill(bytes.subarray(FIELD, FIELD + 512), FIELD, FIELD + 512).equals(bytes)).toBe(true)
  })

  it.skipIf(oracle('checkisomd5', 'implantisomd5').skip)('passes checkisomd5, and is what implantisomd5 makes of it', async () => {
    const path = await image(size, options)
    runOk('checkisomd5', [path])
    const again = join(folder, 'again.iso')
    copyFileSync(path, again)
    runOk('implantisomd5', ['--force', again])
    const bytes = readFileSync(path)
    expect(readFileSync(again).equals(bytes)).toBe(true)
    // A byte that is read otherwise is found, but for the last sectors.
    for (const [position, status] of [
      [FIELD - 100, 1],
      [Math.floor(bytes.length / 2), 1],
      [bytes.length - 15 * 2048 - 1, 1],
      [bytes.length - 15 * 2048, 0],
    ] as const) {
      const damaged = Buffer.from(bytes)
      damaged[position] = (damaged[position] ?? 0) ^ 1
      writeFileSync(again, damaged)
      expect(run('checkisomd5', [again]).status, `${position}`).toBe(status)
    }
  })
})

it('a volume whose fragments are smaller than a read has none', async () => {
  await expect(image(1000, {})).rejects.toMatchObject({
    code: 'LIMIT',
    message: expect.stringMatching(/is too small for a media check, which needs 718848/),
  })
})
