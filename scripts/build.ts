/** Compile `src/` to `dist/`: JavaScript and declarations, nothing left over from an earlier build. */
import { spawnSync } from 'node:child_process'
import { globSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const dist = join(root, 'dist')
rmSync(dist, { recursive: true, force: true })
const { status } = spawnSync(process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.build.json'], {
  cwd: root,
  stdio: 'inherit',
})
// Nobody imports the command, so nobody needs its types.
for (const name of globSync('cli/**/*.d.ts{,.map}', { cwd: dist })) rmSync(join(dist, name))
process.exit(status ?? 1)
