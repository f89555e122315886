/** All questions, one after the other: `npm run bench`. The large closure is made by `fixtures/large/make.sh`. */
import { spawnSync } from 'node:child_process'

for (const name of [
  'startup',
  'codecs',
  'streams',
  'squashfs',
  'scaling',
  'iso',
  'netboot',
  'serve',
  'disk',
  'qcow2',
  'zfs',
  'nar',
  'replace',
  'cache',
]) {
  console.log(`\n== ${name}`)
  const { status } = spawnSync(process.execPath, [new URL(`./${name}.ts`, import.meta.url).pathname], { stdio: 'inherit' })
  if (status !== 0) process.exit(status ?? 1)
}
