/**
 * The fast tier of the tests, the project `unit`, with any Node: `node scripts/unit.ts [NODE]`. No machine boots, and nothing
 * but Node and what `npm ci` brings is needed: no other program is found. The Node that the package asks for at the least is
 * tested with it, and the newest.
 */
import { spawnSync } from 'node:child_process'
import { dirname, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))

const [given] = process.argv.slice(2)
const node = given === undefined ? process.execPath : resolve(given)
const said = spawnSync(node, ['--version'], { encoding: 'utf8' })
if (said.status !== 0) throw new Error(`${node}: is no Node (${said.error?.message ?? said.stderr})`)
console.log(`the fast tier with Node ${said.stdout.trim()}`)

// The first 24 says of itself that it strips types; the package holds none.
const env = { ...process.env, NODE_OPTIONS: '--disable-warning=ExperimentalWarning', PATH: dirname(node) }
const { status } = spawnSync(node, ['node_modules/vitest/vitest.mjs', 'run', '--project', 'unit*'], { cwd: root, stdio: 'inherit', env })
process.exitCode = status ?? 1
