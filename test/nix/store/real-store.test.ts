/**
 * A small store made by the real Nix (in a scratch folder, as root), read back in every form it prints:
 * our hashes, references and registration against Nix's own.
 */
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { readClosure } from '../../../src/nix/listing/read.ts'
import { rebuildRegistration } from '../../../src/nix/listing/rebuild.ts'
import { formatRegistration } from '../../../src/nix/listing/registration.ts'
import { narDigest, narSize } from '../../../src/nix/nar/serialize.ts'
import { storeTree } from '../../../src/nix/store/store-tree.ts'
import { oracle, run, runOk, type ToolResult } from '../../oracles/tools.ts'
import { makeNastyTree } from '../nasty-tree.ts'
import { scratchFolder } from '../scratch.ts'

/** Three paths: text without references, text that refers to it, and a folder of everything. */
const EXPRESSION = `
  let
    note = builtins.toFile "note" "a note\\n";
    letter = builtins.toFile "letter.txt" "see \${note}\\n";
  in { inherit note letter; nasty = ./nasty; }
`

const tools = oracle('nix-store')
const skip = tools.skip || (process.getuid?.() !== 0 && process.env.CI !== 'true')

describe.skipIf(skip)('a store made by Nix', () => {
  const scratch = scratchFolder()
  const environment = (): Record<string, string> => ({
    HOME: scratch('home'),
    NIX_CONF_DIR: scratch('conf'),
    NIX_REMOTE: '',
    NIX_PATH: '',
    XDG_CACHE_HOME: scratch('cache'),
  })
  const nix = (store: string, tool: string, ...args: string[]): ToolResult =>
    runOk(tool, ['--store', scratch(store), ...args], { env: environment() })
  let roots: string[] = []
  let listing: Record<string, Buffer> = {}

  beforeAll(() => {
    for (const folder of ['home', 'conf', 'cache', 'store', 'loaded']) mkdirSync(scratch(folder))
    writeFileSync(scratch('conf/nix.conf'), 'build-users-group =\nsandbox = false\nexperimental-features = nix-command\n')
    makeNastyTree(scratch('nasty'))
    writeFileSync(scratch('expression.nix'), EXPRESSION)
    const values = JSON.parse(
      nix('store', 'nix-instantiate', '--eval', '--strict', '--json', '--read-write-mode', scratch('expression.nix')).text,
    )
    const nasty = nix('store', 'nix-store', '--add', scratch('nasty')).text.trim()
    roots = [values.letter, values.note, nasty]
    listing = {
      'path-list': nix('store', 'nix-store', '-qR', ...roots).stdout,
      'dump-db': nix('store', 'nix-store', '--dump-db', ...roots).stdout,
      'path-info': nix('store', 'nix', 'path-info', '-r', '--json', ...roots).stdout,
    }
    for (const [name, text] of Object.entries(listing)) writeFileSync(scratch(name), text)
  })

  afterAll(() => {
    runOk('chmod', ['-R', 'u+w', scratch()])
  })

  it('gives the same registration from every form', async () => {
    const registrations = new Set<string>()
    for (const kind of ['dump-db', 'path-info']) {
      const closure = await readClosure(scratch(kind))
      expect(closure).toMatchObject({ kind, hashesKnown: true })
      expect(closure.paths).toHaveLength(3)
      registrations.add(Buffer.from(formatRegistration(closure)).toString())
    }
    const list = await readClosure(scratch('path-list'))
    expect(list.kind).toBe('path-list')
    const rebuilt = await rebuildRegistration(list, await storeTree(list, { root: scratch('store') }))
    registrations.add(Buffer.from(formatRegistration(rebuilt)).toString())
    expect(registrations.size).toBe(1)
    expect(rebuilt.paths.map((path) => path.references.length).sort()).toEqual([0, 0, 1])
  })

  it('has NARs of the size that Nix registered', async () => {
    const closure = await readClosure(scratch('dump-db'))
    const tree = await storeTree(closure, { root: scratch('store') })
    for (const [index, { path, narSize: size, narHash = new Uint8Array() }] of closure.paths.entries()) {
      const node = tree.entries[index]?.node
      if (node === undefined) throw new Error(path)
      expect(narSize(node, path)).toBe(size)
      expect(narDigest(path, node, narHash).node).toBe(node)
    }
  })

  it('is verified by Nix in another store after loading our registration, and not when a byte differs', async () => {
    const registration = formatRegistration(await readClosure(scratch('path-info')))
    runOk('cp', ['-a', scratch('store/nix'), scratch('loaded/nix')])
    rmSync(scratch('loaded/nix/var'), { recursive: true })
    expect(run('nix-store', ['--store', scratch('loaded'), '--check-validity', ...roots], { env: environment() }).status).not.toBe(0)
    runOk('nix-store', ['--store', scratch('loaded'), '--load-db'], { input: registration, env: environment() })
    nix('loaded', 'nix-store', '--check-validity', ...roots)
    nix('loaded', 'nix-store', '--verify', '--check-contents')
    expect(nix('loaded', 'nix-store', '--dump-db', ...roots).text).toBe(nix('store', 'nix-store', '--dump-db', ...roots).text)
    const [letter = ''] = roots
    runOk('sh', ['-c', 'chmod u+w "$1" && printf X >> "$1"', 'sh', scratch('loaded', letter)])
    const verified = run('nix-store', ['--store', scratch('loaded'), '--verify', '--check-contents'], { env: environment() })
    expect(verified.status).not.toBe(0)
    expect(verified.stderr).toContain('was modified')
    expect(existsSync(scratch('loaded/nix/var/nix/db/db.sqlite'))).toBe(true)
  })
})
