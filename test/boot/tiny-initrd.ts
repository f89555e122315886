/** An initrd that says its command line on the serial line and ends the machine: all that a boot loader has to prove. */
import { chmodSync, copyFileSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { runOk } from '../oracles/tools.ts'

const INIT = `#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs devtmpfs /dev
echo "KILNIX-TINY $(/bin/busybox cat /proc/cmdline)" > /dev/ttyS0
/bin/busybox poweroff -f
`

/** A newc archive, made in `folder`, with the static busybox of the store below `root`. */
export function tinyInitrd(folder: string, root: string): Buffer {
  const store = join(root, 'nix/store')
  const busybox = readdirSync(store).find((name) => name.includes('-busybox-static-')) ?? ''
  for (const name of ['bin', 'dev', 'proc']) mkdirSync(join(folder, name), { recursive: true })
  copyFileSync(join(store, busybox, 'bin/busybox'), join(folder, 'bin/busybox'))
  writeFileSync(join(folder, 'init'), INIT)
  chmodSync(join(folder, 'init'), 0o755)
  return runOk('cpio', ['-o', '-H', 'newc', '--quiet'], { cwd: folder, input: Buffer.from('bin\nbin/busybox\ndev\nproc\ninit\n') }).stdout
}
