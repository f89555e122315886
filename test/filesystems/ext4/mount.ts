/** Mounting images, where the machine lets us. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { run, runOk } from '../../oracles/tools.ts'

/** Why this machine mounts no ext4 images; empty if it does. */
export function whyNoMount(): string {
  if (process.getuid?.() !== 0) return 'mounting needs root'
  const probe = run('sh', ['-c', 'modprobe -q ext4 loop; grep -qw ext4 /proc/filesystems && losetup --find'])
  return probe.status === 0 ? '' : 'no ext4 in the kernel, or no loop device'
}

/** Call `use` with the folder at which the kernel shows `image`, and unmount it. */
export async function mounted<T>(image: string, options: string, use: (folder: string) => Promise<T>): Promise<T> {
  const folder = join(image, '../mounted')
  mkdirSync(folder, { recursive: true })
  runOk('mount', ['-t', 'ext4', '-o', `loop,${options}`, image, folder])
  try {
    return await use(folder)
  } finally {
    runOk('umount', [folder])
  }
}
