/**
 * A toplevel with everything in it, built by the real Nix in the steps that nixpkgs has for it and made content-addressed by
 * `nix store make-content-addressed`, against the same assembled by us: store path, hash, references and every byte.
 */
import { mkdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { beforeAll, describe, expect, it } from 'vitest'
import type { Closure } from '../../../src/nix/listing/closure.ts'
import { readClosure } from '../../../src/nix/listing/read.ts'
import { formatSri } from '../../../src/nix/store/hash.ts'
import { type AssembledToplevel, assembleToplevel } from '../../../src/system/assemble/index.ts'
import { parseToplevelSpec } from '../../../src/system/assemble/spec.ts'
import { compareWithDisk } from '../../images/compare-with-disk.ts'
import { type NixTools, nixTools, skipNix } from '../../nix/nix-tools.ts'
import { scratchFolder } from '../../nix/scratch.ts'
import { oracle, runOk } from '../../oracles/tools.ts'
import { everythingSpec, type Json, PART_NAMES, writeParts } from './parts-support.ts'

const EXPRESSION = fileURLToPath(new URL('../../../fixtures/toplevel/toplevel.nix', import.meta.url))
/** For a store in a folder Nix always builds in a sandbox. */
const SANDBOX_PATHS = '/usr /lib /lib64'
const skip = skipNix || oracle('jq').skip

interface PathInfo {
  readonly path: string
  readonly narHash: string
  readonly narSize: number
  readonly references: readonly string[]
  readonly ca?: string
}

describe.skipIf(skip)('a toplevel that Nix builds', () => {
  const scratch = scratchFolder()
  let nix: NixTools
  let closure: Closure
  let ours: AssembledToplevel
  let byNix: string

  const spec = (): Json => {
    const at = (name: string): string => {
      const found = closure.paths.find(({ path }) => path.slice('/nix/store/'.length + 33) === name)
      if (found === undefined) throw new Error(`no part ${name}`)
      return found.path
    }
    return everythingSpec(at)
  }
  const assemble = (json: Json): Promise<AssembledToplevel> =>
    assembleToplevel({
      spec: parseToplevelSpec(Buffer.from(JSON.stringify(json)), 'spec.json'),
      where: 'spec.json',
      folder: scratch('parts'),
      store: { closure, root: scratch('store') },
    })

  beforeAll(async () => {
    writeParts(scratch('parts'))
    mkdirSync(scratch('store'))
    nix = nixTools(scratch('home'))
    const jq = runOk('sh', ['-c', 'command -v jq']).text.trim()
    const bash = runOk('sh', ['-c', 'command -v bash']).text.trim()
    const args = ['--argstr', 'parts', scratch('parts'), '--argstr', 'bash', bash, '--argstr', 'jq', jq, '-A', 'toplevel']
    const derivation = nix.ok(scratch('store'), 'nix-instantiate', [EXPRESSION, ...args]).text.trim()
    const built = nix.ok(scratch('store'), 'nix-store', ['--realise', derivation, '--option', 'sandbox-paths', SANDBOX_PATHS]).text.trim()
    const made = JSON.parse(nix.ok(scratch('store'), 'nix', ['store', 'make-content-addressed', '--json', built]).text) as {
      rewrites: Record<string, string>
    }
    byNix = made.rewrites[built] ?? ''
    // The parts as they are listed by Nix; nothing that the toplevel itself is.
    const listing = nix.ok(scratch('store'), 'nix', ['path-info', '-r', '--json', byNix]).stdout
    closure = await readClosure('-', { stdin: chunks(listing) })
    closure = { ...closure, paths: closure.paths.filter(({ path }) => PART_NAMES.includes(path.slice('/nix/store/'.length + 33))) }
    ours = await assemble(spec())
  }, 60_000)

  it('has the same store path, and so have the paths beside it', () => {
    expect(ours.toplevel).toBe(byNix)
    const names = ours.made.map(({ path }) => path.slice('/nix/store/'.length + 33))
    expect(names).toEqual([
      'nixos-system-everything-26.11.rescue',
      'switch-inhibitors',
      'closure-info',
      'nixos-system-everything-26.11.20261121.abcdef0',
    ])
  })

  it('has the same hashes, sizes, references and content addresses', () => {
    const listed = JSON.parse(nix.ok(scratch('store'), 'nix', ['path-info', '-r', '--json', byNix]).text) as PathInfo[]
    expect(ours.closure.paths.map(({ path }) => path)).toEqual(listed.map(({ path }) => path).sort())
    for (const { path, narHash, narSize, references, ca } of ours.made) {
      const nixSays = listed.find((info) => info.path === path)
      expect({ narHash: formatSri(narHash), narSize, references, ca }, path).toEqual({
        narHash: nixSays?.narHash,
        narSize: nixSays?.narSize,
        references: [...(nixSays?.references ?? [])].sort(),
        ca: nixSays?.ca,
      })
    }
  })

  it('has the same files, byte for byte', async () => {
    for (const { path, tree } of ours.made) expect(await compareWithDisk(tree, scratch('store', path)), path).toEqual([])
  })

  it('is another one when one byte of the spec is', async () => {
    const other = await assemble({ ...spec(), kernelParams: ['loglevel=5', 'console=ttyS0,115200n8', 'note="two  words"', 'back\\slash'] })
    expect(other.toplevel).not.toBe(byNix)
    const differences = await compareWithDisk(other.made.at(-1)?.tree, scratch('store', byNix))
    expect(differences).toEqual(expect.arrayContaining(['kernel-params: other bytes', 'boot.json: other bytes']))
    expect(differences).not.toContain('sw: leads elsewhere')
  })

  it('has boot.json as jq sorts it', () => {
    const text = readFileSync(scratch('store', byNix, 'boot.json'))
    expect(runOk('jq', ['--sort-keys', '.'], { input: text }).stdout).toEqual(text)
  })
})

async function* chunks(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes
}
