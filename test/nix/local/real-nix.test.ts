/**
 * The closure from daemons and databases of real Nix, old and new, against what their own `nix path-info` prints: with a transaction
 * that is under way, and for a user who may only read.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Closure } from '../../../src/nix/listing/closure.ts'
import { readClosure } from '../../../src/nix/listing/read.ts'
import { localClosure } from '../../../src/nix/local/index.ts'
import { oracle, run, runOk } from '../../oracles/tools.ts'
import { NIX_PROGRAMS, type NixTools, nixTools, skipNix } from '../nix-tools.ts'
import { scratchFolder } from '../scratch.ts'

const EXPRESSION = `
  let
    note = builtins.toFile "note" "a note\\n";
    letter = builtins.toFile "letter.txt" "see \${note}\\n";
  in builtins.toFile "pile" "\${letter} and \${note}\\n"
`

const skip = skipNix || oracle('setpriv').skip

describe.skipIf(skip)('the local Nix', () => {
  const scratch = scratchFolder()
  beforeAll(() => chmodSync(scratch(), 0o755))

  describe.each(NIX_PROGRAMS)('$suite', ({ suite, folder }) => {
    let nix: NixTools
    let daemon: ChildProcess | undefined
    let pile: string
    let listed: Closure
    const root = (): string => scratch(`store-${suite}`)
    const home = (): string => scratch(`home-${suite}`)
    const socket = (): string => scratch(`s-${suite}`)

    beforeAll(async () => {
      nix = nixTools(home(), folder)
      mkdirSync(root())
      writeFileSync(scratch('pile.nix'), EXPRESSION)
      mkdirSync(scratch(`tree-${suite}/in`), { recursive: true })
      writeFileSync(scratch(`tree-${suite}/in/file`), 'x'.repeat(5000))
      pile = JSON.parse(nix.ok(root(), 'nix', ['eval', '--json', '-f', scratch('pile.nix')]).text)
      const added = nix.ok(root(), 'nix-store', ['--add', scratch(`tree-${suite}`)]).text.trim()
      writeFileSync(scratch(`list-${suite}.json`), nix.ok(root(), 'nix', ['path-info', '-r', '--json', pile, added]).stdout)
      listed = await readClosure(scratch(`list-${suite}.json`))
      daemon = await startDaemon()
    })

    afterAll(() => {
      daemon?.kill()
      run('chmod', ['-R', 'u+w', root()])
      rmSync(socket(), { force: true })
    })

    async function startDaemon(): Promise<ChildProcess> {
      const env = { ...process.env, HOME: home(), NIX_CONF_DIR: home(), NIX_USER_CONF_FILES: '/dev/null', NIX_REMOTE: '' }
      const program = folder === undefined ? 'nix' : `${folder}/nix`
      const child = spawn(program, ['daemon', '--store', root()], { env: { ...env, NIX_DAEMON_SOCKET_PATH: socket() }, stdio: 'ignore' })
      for (let wait = 0; wait < 200 && !existsSync(socket()); wait++) await setTimeout(50)
      return child
    }

    const asListed = ({ paths }: Closure) => paths
    const roots = (): string[] => [pile, ...listed.paths.map(({ path }) => path).filter((path) => path.endsWith(`tree-${suite}`))]

    it('says the same by its daemon and by its database as path-info', { timeout: 60_000 }, async () => {
      const byDaemon = await localClosure(roots(), { store: `unix://${socket()}?root=${root()}` })
      const byDatabase = await localClosure(roots(), { store: root() })
      expect(listed.paths.length).toBe(4)
      expect(byDaemon.closure).toMatchObject({ kind: 'nix-daemon', hashesKnown: true, referencesKnown: true })
      expect(byDatabase.closure).toMatchObject({ kind: 'nix-database', hashesKnown: true, referencesKnown: true })
      expect(byDaemon.closure.paths).toEqual(asListed(listed))
      expect(byDatabase.closure.paths).toEqual(asListed(listed))
      expect(byDatabase).toMatchObject({ root: root(), roots: roots() })
    })

    it('says by its database what was committed, to root and to a user who may only read', { timeout: 60_000 }, async () => {
      const folder_ = `${root()}/nix/var/nix/db`
      const database = new DatabaseSync(`${folder_}/db.sqlite`)
      database.exec('begin immediate; pragma cache_size = 1; delete from Refs; update ValidPaths set narSize = 0')
      try {
        const whole = await localClosure(roots(), { store: root() })
        expect(whole.closure.paths).toEqual(asListed(listed))
        const script = `
          import { localClosure } from ${JSON.stringify(new URL('../../../src/nix/local/index.ts', import.meta.url).href)}
          const { closure } = await localClosure(${JSON.stringify(roots())}, { store: ${JSON.stringify(root())} })
          console.log(JSON.stringify(closure.paths.map(({ path, narSize, references }) => [path, narSize, references])))`
        const args = ['--reuid=65534', '--regid=65534', '--clear-groups', process.execPath, '--input-type=module', '-e', script]
        const { text } = runOk('setpriv', args, { cwd: '/' })
        expect(JSON.parse(text)).toEqual(listed.paths.map(({ path, narSize, references }) => [path, narSize, references]))
      } finally {
        database.exec('rollback')
        database.close()
      }
    })

    it('says that a path is not valid', { timeout: 60_000 }, async () => {
      const none = `/nix/store/${'0'.repeat(32)}-none`
      for (const store of [`unix://${socket()}?root=${root()}`, root()]) {
        await expect(localClosure([none], { store })).rejects.toMatchObject({
          code: 'NOT_FOUND',
          message: expect.stringContaining('is not valid'),
        })
      }
    })
  })
})
