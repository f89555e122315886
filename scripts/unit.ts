/**
 * The fast tier of the tests, with any Node: `node scripts/unit.ts [NODE]`. No machine boots, and nothing but Node and what
 * `npm ci` brings is needed. The Node that the package asks for at the least is tested with it, and the newest.
 */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

/** Every part of the library, the command and the server; what takes long, or needs other people's tools, is left to `npm test`. */
const FILES = [
  'test/architecture.test.ts',
  'test/archives/cpio.test.ts',
  'test/boot/menu.test.ts',
  'test/cli/progress.test.ts',
  'test/cli/settings.test.ts',
  'test/codecs/stream-no-inner.test.ts',
  'test/codecs/version.test.ts',
  'test/disks/gpt.test.ts',
  'test/disks/plans.test.ts',
  'test/filesystems/ext4/image.test.ts',
  'test/filesystems/fat/plan.test.ts',
  'test/filesystems/iso9660/pack.test.ts',
  'test/filesystems/squashfs/pool.test.ts',
  'test/filesystems/zfs/plan.test.ts',
  'test/system/additions.test.ts',
  'test/images/pieces-threads.test.ts',
  'test/io/',
  'test/system/bootspec.test.ts',
  'test/nix/listing/closure.test.ts',
  'test/nix/store/database.test.ts',
  'test/nix/nar/read.test.ts',
  'test/nix/nar/restore.test.ts',
  'test/server/clients.test.ts',
  'test/server/conditions.test.ts',
  'test/server/response-plan.test.ts',
  'test/server/serve.test.ts',
  'test/tree/',
]

/** Not what the real Nix says of the database: it takes long, and does not depend on Node. */
const NAMES = '^(?!by the real Nix)'

const root = fileURLToPath(new URL('..', import.meta.url))
const missing = FILES.filter((path) => !existsSync(join(root, path)))
if (missing.length > 0) throw new Error(`no such tests: ${missing.join(', ')}`)

const [given] = process.argv.slice(2)
const node = given === undefined ? process.execPath : resolve(given)
const said = spawnSync(node, ['--version'], { encoding: 'utf8' })
if (said.status !== 0) throw new Error(`${node}: is no Node (${said.error?.message ?? said.stderr})`)
console.log(`the fast tier with Node ${said.stdout.trim()}`)

// The first 24 says of itself that it strips types; the package holds none.
const env = { ...process.env, NODE_OPTIONS: '--disable-warning=ExperimentalWarning' }
const args = ['node_modules/vitest/vitest.mjs', 'run', '--testNamePattern', NAMES, ...FILES]
const { status } = spawnSync(node, args, { cwd: root, stdio: 'inherit', env })
process.exitCode = status ?? 1
