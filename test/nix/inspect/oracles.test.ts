/** Sizes, reasons and differences of closures against those that Nix prints. */
import { appendFileSync, chmodSync, readFileSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { stripVTControlCharacters } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { removeStore, type SmallClosure, unpackSmall } from '../../../fixtures/unpack.ts'
import { differenceLines } from '../../../src/cli/closure-text.ts'
import { checkClosure } from '../../../src/nix/inspect/check.ts'
import { closureDifference } from '../../../src/nix/inspect/diff.ts'
import { closureSizes } from '../../../src/nix/inspect/sizes.ts'
import { referenceChain, referenceChains } from '../../../src/nix/inspect/why.ts'
import { readClosure } from '../../../src/nix/listing/read.ts'
import { chunksOf } from '../nar/words.ts'
import { type NixTools, nixTools, skipNix } from '../nix-tools.ts'

describe.skipIf(skipNix)('Nix says the same', () => {
  let work = ''
  let small: SmallClosure
  let nix: NixTools
  beforeAll(async () => {
    work = await mkdtemp(join(tmpdir(), 'kilnix-inspect-'))
    small = await unpackSmall(join(work, 'small'))
    nix = nixTools(join(work, 'home'))
    nix.ok(small.root, 'nix-store', ['--load-db'], readFileSync(join(small.folder, 'registration')))
  })
  afterAll(() => removeStore(work))

  const verbose = (): string => small.storePaths.find((path) => path.includes('-nixos-system-small-verbose')) ?? ''
  const closureFrom = (path: string) => {
    const json = nix.ok(small.root, 'nix', ['path-info', '-r', '--json', path]).stdout
    return readClosure('-', { stdin: chunksOf(json) })
  }

  it('of sizes', async () => {
    const { paths } = await closureSizes(await readClosure(small.folder))
    const ours = paths.map(({ path, narSize, closureSize }) => `${path} ${narSize} ${closureSize}`)
    const theirs = nix
      .ok(small.root, 'nix', ['path-info', '-s', '-S', ...small.storePaths])
      .text.trim()
      .split('\n')
    expect(ours.sort()).toEqual(theirs.map((line) => line.trim().split(/\s+/).join(' ')).sort())
  })

  it('of reasons: its trees name the same paths, and where it finds none there is none', { timeout: 60_000 }, async () => {
    const closure = await readClosure(small.folder)
    const named = (text: string): string[] => [...new Set(text.match(/\/nix\/store\/[0-9a-z]{32}-[0-9A-Za-z+._?=-]+/g))].sort()
    let chains = 0
    for (const to of small.storePaths) {
      const shortest = named(nix.run(small.root, 'nix', ['why-depends', small.toplevel, to]).text)
      const chain = await referenceChain(closure, small.toplevel, to)
      if (to === small.toplevel || chain === undefined) {
        expect(shortest.length, to).toBeLessThan(2)
        continue
      }
      chains++
      expect(chain.length, to).toBe(shortest.length)
      const all = named(nix.run(small.root, 'nix', ['why-depends', '--all', small.toplevel, to]).text)
      expect([...(await referenceChains(closure, small.toplevel, to)).keys()].sort(), to).toEqual(all)
    }
    expect(chains).toBeGreaterThan(5)
  })

  it('of differences: the same packages and versions', async () => {
    for (const [old, next] of [
      [small.toplevel, verbose()],
      [verbose(), small.toplevel],
      [small.storePaths[0] ?? '', small.toplevel],
    ] as const) {
      const theirs = nix.ok(small.root, 'nix', ['store', 'diff-closures', old, next]).text
      const lines = stripVTControlCharacters(theirs)
        .trim()
        .split('\n')
        .filter((line) => line !== '')
      const ours = [...differenceLines(await closureDifference(await closureFrom(old), await closureFrom(next)))].slice(0, -2)
      // Sizes are written in another unit.
      const withoutSize = (line: string): string => line.replace(/,? [+-][0-9.]+ (KiB|MiB|B)$/, '')
      expect(ours.map(withoutSize)).toEqual(lines.map(withoutSize))
    }
  })

  it('of a damaged store: the same paths are wrong', async () => {
    const { root, folder, storePaths } = await unpackSmall(join(work, 'damaged'))
    nix.ok(root, 'nix-store', ['--load-db'], readFileSync(join(folder, 'registration')))
    const wrong = storePaths.filter((path) => /^.{43}-(program|empty-file)$/.test(path)).sort()
    for (const path of wrong) {
      chmodSync(join(root, path), 0o755)
      appendFileSync(join(root, path), 'x')
    }
    const verified = nix.run(root, 'nix-store', ['--verify', '--check-contents'])
    const theirs = [...new Set(verified.stderr.match(/path '([^']*)' was modified/g))].map((text) => text.slice(6, -14)).sort()
    const { problems } = await checkClosure(await readClosure(folder), { root })
    expect(theirs).toEqual(wrong)
    expect([...new Set(problems.map(({ path }) => path))]).toEqual(wrong)
  })
})
