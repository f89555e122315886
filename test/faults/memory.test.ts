/** Memory at a hundred thousand files: what the process holds at most does not follow the size of the store. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { kilnixMeasured, randomNumbers } from './support.ts'

const MEBIBYTE = 1 << 20
const FILES = 100_000
const FILES_IN_PATH = 5000
const FILES_IN_FOLDER = 100
const LIMIT = 512 * MEBIBYTE

const folder = mkdtempSync(join(tmpdir(), 'kilnix-memory-'))
afterAll(() => rmSync(folder, { recursive: true }))

beforeAll(() => {
  const random = randomNumbers(1)
  const paths: string[] = []
  for (let first = 0; first < FILES; first += FILES_IN_PATH) {
    const path = `/nix/store/${String(first).padStart(32, '0')}-many`
    paths.push(path)
    for (let index = 0; index < FILES_IN_PATH; index++) {
      const sub = join(folder, path, `lib/folder-${Math.floor(index / FILES_IN_FOLDER)}`)
      if (index % FILES_IN_FOLDER === 0) mkdirSync(sub, { recursive: true })
      // Few bytes each, few sizes: nearly every file has a twin in size, and so is hashed and remembered.
      writeFileSync(join(sub, `a-file-with-a-name-${index}.txt`), `file ${first + index} `.repeat(1 + Math.floor(random() * 40)))
    }
  }
  writeFileSync(join(folder, 'list'), `${paths.join('\n')}\n`)
})

describe('peak memory', () => {
  it(`is below 512 MiB for ${FILES} files with the defaults`, async () => {
    const output = join(folder, 'image')
    const args = ['squashfs', '--closure', join(folder, 'list'), '--root', folder, '--jobs', '2', '--quiet', '-o', output]
    const { status, stderr, peakBytes } = await kilnixMeasured(args)
    console.log(`${FILES} files: peak ${Math.round(peakBytes / MEBIBYTE)} MiB`)
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    expect(peakBytes).toBeLessThan(LIMIT)
  })
})
