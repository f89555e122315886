/**
 * Content-addressed paths that refer to themselves, made by us and by versions of Nix that hash them in two ways: each takes
 * and makes what `schemeOfNix` says of it, from a store with the database that disks have.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { beforeAll, describe, expect, it } from 'vitest'
import { checkClosure } from '../../../src/nix/inspect/check.ts'
import type { Closure } from '../../../src/nix/listing/closure.ts'
import { readClosure } from '../../../src/nix/listing/read.ts'
import { type ContentAddressScheme, otherScheme, schemeOfNix } from '../../../src/nix/store/address-scheme.ts'
import { DATABASE_SCHEMA, nixDatabase } from '../../../src/nix/store/database.ts'
import { saveStore } from '../../../src/system/saved-store.ts'
import { loadClosure } from '../../../src/system/store.ts'
import { runOk } from '../../oracles/tools.ts'
import { chunksOf } from '../nar/words.ts'
import { NIX_PROGRAMS, type NixTools, nixTools, skipNix } from '../nix-tools.ts'
import { scratchFolder } from '../scratch.ts'
import { base, closureFrom, file, folder, link, type Sample } from '../store-samples.ts'

const at = (name: string): string => `/nix/store/${base(name)}`

function samples(): Record<string, Sample> {
  const text = (...names: string[]): string => names.map((name) => `see ${at(name)}/x\n`).join('')
  return {
    [base('lib-1')]: { tree: file('old'), references: [] },
    [base('lib-2')]: { tree: file('new'), references: [] },
    [base('app')]: {
      tree: folder({ run: file(text('lib-1', 'app', 'app'), 0o555), self: link(`${at('app')}/run`) }),
      references: ['lib-1', 'app'].map(base),
    },
    [base('plain')]: { tree: file(text('lib-1')), references: [base('lib-1')] },
    [base('system')]: {
      tree: folder({ init: file(text('system', 'app', 'plain')) }),
      references: ['app', 'plain', 'system'].map(base),
    },
  }
}

describe.skipIf(skipNix)('content addresses that Nix takes and makes', () => {
  const scratch = scratchFolder()
  let closure: Closure
  /** Saves the samples as a store, with a database. */
  async function store(name: string): Promise<string> {
    const overlay = new Map(Object.entries(samples()).map(([baseName, { tree }]) => [baseName, tree]))
    await saveStore({ closure, root: '/none', overlay }, scratch(name), { paths: 'all' })
    return withDatabase(name, closure)
  }
  function withDatabase(name: string, listed: Closure): string {
    const root = scratch(name)
    mkdirSync(`${root}/nix/var/nix/db`, { recursive: true })
    writeFileSync(`${root}/nix/var/nix/db/db.sqlite`, nixDatabase(listed))
    writeFileSync(`${root}/nix/var/nix/db/schema`, DATABASE_SCHEMA)
    return root
  }
  /** The sample system with its library replaced, in a store that says so to Nix. */
  async function replaced(name: string, old: string, contentAddressScheme: ContentAddressScheme) {
    const replacements = [{ oldPath: at('lib-1'), newPath: at('lib-2') }]
    const made = await loadClosure({ closure: `${old}/closure.json`, root: old, replacements, contentAddressScheme })
    await saveStore(made, scratch(name), { paths: 'all' })
    return { root: withDatabase(name, made.closure), system: made.mapping.get(at('system')) ?? '', made }
  }
  beforeAll(async () => {
    closure = await closureFrom(samples())
  })

  describe.each(NIX_PROGRAMS)('$suite', ({ suite, folder: programs }) => {
    let nix: NixTools
    let scheme: ContentAddressScheme
    let old: string
    beforeAll(async () => {
      nix = nixTools(scratch(`home-${suite}`), programs)
      const [, major, minor] =
        /([0-9]+)\.([0-9]+)/.exec(runOk(programs === undefined ? 'nix' : `${programs}/nix`, ['--version']).text) ?? []
      scheme = schemeOfNix(Number(major), Number(minor))
      old = await store(`old-${suite}`)
    })

    it('copies what is made for it without a signature, and nothing that is made for others', { timeout: 60_000 }, async () => {
      const right = await replaced(`right-${suite}`, old, scheme)
      const wrong = await replaced(`wrong-${suite}`, old, otherScheme(scheme))
      const target = scratch(`target-${suite}`)
      const copy = (from: string, ...args: string[]) => nix.run(from, 'nix', ['copy', '--to', target, ...args])
      expect(copy(right.root, '--no-check-sigs', at('lib-2')).stderr).not.toMatch(/error/)
      expect(copy(right.root, right.system)).toMatchObject({ status: 0 })
      expect(nix.run(target, 'nix', ['store', 'verify', '--recursive', '--no-trust', right.system])).toMatchObject({ status: 0 })
      expect(nix.run(target, 'nix-store', ['--verify', '--check-contents'])).toMatchObject({ status: 0 })
      const refused = copy(wrong.root, '--no-check-sigs', wrong.system)
      expect(refused.status).not.toBe(0)
      expect(refused.stderr).toMatch(/ca hash mismatch importing path/)
      // What does not hold its own name has one address in both.
      const plain = [right, wrong].map(({ made }) => made.mapping.get(at('plain')))
      expect(plain[0]).toBe(plain[1])
      expect(right.system).not.toBe(wrong.system)
    })

    it('makes paths that a check takes and tells apart', { timeout: 60_000 }, async () => {
      const { rewrites } = JSON.parse(
        nix.ok(old, 'nix', ['store', 'make-content-addressed', '--recursive', '--json', at('system')]).text,
      ) as {
        rewrites: Record<string, string>
      }
      const made = Object.values(rewrites)
      const listing = nix.ok(old, 'nix', ['path-info', '-r', '--json', ...made]).stdout
      const report = await checkClosure(await readClosure('-', { stdin: chunksOf(listing) }), { root: old, jobs: 1 })
      expect(report.problems).toEqual([])
      const own = made.filter((path) => /-(app|system)$/.test(path)).sort()
      expect(own).toHaveLength(2)
      expect(report.contentAddressSchemes).toEqual({ positions: [], zeros: [], [scheme]: own })
    })
  })
})
