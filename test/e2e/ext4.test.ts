/**
 * Linux 6.1, Debian's, in QEMU with an initrd of busybox: it mounts a file system of ours read-write, finds every file as it should
 * be, writes and deletes, grows it to ten times its size while it is mounted, and leaves it clean.
 */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { chmod, copyFile, mkdir, mkdtemp, readdir, rm, symlink as symlinkTo, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { removeStore } from '../../fixtures/unpack.ts'
import { ext4 } from '../../src/filesystems/ext4/index.ts'
import { treeAt } from '../../src/tree/merge.ts'
import { HOST_ATTRIBUTES, scanHost } from '../../src/tree/scan.ts'
import type { DirectoryNode } from '../../src/tree/tree.ts'
import {
  contentOf,
  directory,
  file,
  fsckFindings,
  many,
  noise,
  OPTIONS,
  paths,
  sparse,
  symlink,
  writeImageFile,
} from '../filesystems/ext4/support.ts'
import { compareTrees } from '../oracles/compare-trees.ts'
import { oracle, runOk } from '../oracles/tools.ts'
import { generatedClosure, storePaths } from './closures.ts'

const MIB = 2 ** 20
const MINUTES = 60_000
const live = generatedClosure('live')
const skip = live.skip || oracle('qemu-system-x86_64', 'cpio', 'busybox', 'resize2fs', 'e2fsck').skip

/** In the order in which they need each other. */
const MODULES = [
  'lib/crc16',
  'crypto/crc32c_generic',
  'fs/mbcache',
  'fs/jbd2/jbd2',
  'fs/ext4/ext4',
  'drivers/virtio/virtio',
  'drivers/virtio/virtio_ring',
  'drivers/virtio/virtio_pci_legacy_dev',
  'drivers/virtio/virtio_pci_modern_dev',
  'drivers/virtio/virtio_pci',
  'drivers/block/virtio_blk',
]

const INIT = `#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc none /proc
mount -t sysfs none /sys
mount -t devtmpfs none /dev
for module in ${MODULES.map((path) => basename(path)).join(' ')}; do insmod /modules/$module.ko; done
mount -t ext4 /dev/vda /mnt && echo TEST mounted
cd /mnt
sha256sum -c /sums > /tmp/found 2>&1 && echo TEST contents "$(grep -c ': OK$' /tmp/found)"
grep -v ': OK$' /tmp/found
[ "$(readlink links/fast) $(readlink links/slow | wc -c)" = "target 301" ] && echo TEST links
mkdir new
i=0; while [ $i -lt 1000 ]; do echo "content of $i" > new/file-$i; i=$((i+1)); done
i=0; while [ $i -lt 500 ]; do rm hashed/entry-$i; mv hashed/entry-$((i+1000)) hashed/renamed-$i; i=$((i+1)); done
[ "$(ls hashed | wc -l) $(ls new | wc -l)" = "2500 1000" ] && echo TEST names
rm -r removed
/bin/resize2fs /dev/vda && echo TEST grown "$(df -m /mnt | awk 'NR==2 {print ($2 > 1800)}')"
dd if=/dev/zero of=after bs=1M count=400 2>/dev/null && echo TEST written
sha256sum -c /sums 2>/dev/null | grep -c ': OK$' | sed 's/^/TEST again /'
cd /
umount /mnt && echo TEST unmounted
poweroff -f
`

const removed = many(50, (i) => file(noise(i * 1000, i)))
const kept: DirectoryNode = directory({
  large: file(noise(9 * MIB)),
  small: many(300, (i) => file(noise(i * 37, i))),
  sparse: sparse(40 * MIB, { 5: 'start', [20 * MIB + 4000]: noise(10_000), [40 * MIB - 1]: 'x' }),
})
const tree = directory({
  ...Object.fromEntries(kept.entries.map(({ name, node }) => [Buffer.from(name).toString(), node])),
  hashed: many(3000, () => file('')),
  links: directory({ fast: symlink('target'), slow: symlink('s'.repeat(300)) }),
  removed,
})

describe.skipIf(skip)('an ext4 file system in Linux 6.1', () => {
  let work: string
  beforeAll(async () => {
    work = await mkdtemp(join(tmpdir(), 'kilnix-ext4-e2e-'))
  })
  afterAll(async () => {
    await rm(work, { recursive: true, force: true })
  })

  async function makeInitrd(): Promise<{ kernel: string; initrd: string; fileCount: number }> {
    const linux = storePaths(live.folder).find((path) => /^.{43}-linux-[\d.]+$/.test(path)) ?? 'no linux'
    const store = join(live.root, linux)
    const root = join(work, 'initrd')
    for (const folder of ['bin', 'modules', 'proc', 'sys', 'dev', 'mnt', 'tmp']) await mkdir(join(root, folder), { recursive: true })
    const [version = ''] = await readdir(join(store, 'lib/modules'))
    for (const module of MODULES) {
      await copyFile(join(store, 'lib/modules', version, 'kernel', `${module}.ko`), join(root, 'modules', `${basename(module)}.ko`))
    }
    const program = (name: string): string => runOk('sh', ['-c', `command -v ${name}`]).text.trim()
    await copyFile(program('busybox'), join(root, 'bin/busybox'))
    await symlinkTo('busybox', join(root, 'bin/sh'))
    const resizer = program('resize2fs')
    await copyFile(resizer, join(root, 'bin/resize2fs'))
    for (const [library] of runOk('ldd', [resizer]).text.matchAll(/\/\S+(?= \()/g)) {
      await mkdir(join(root, dirname(library)), { recursive: true })
      await copyFile(library, join(root, library))
    }
    const sums: string[] = []
    for (const [path, node] of paths(kept)) {
      if (node.kind === 'file')
        sums.push(
          `${createHash('sha256')
            .update(await contentOf(node))
            .digest('hex')}  .${path}\n`,
        )
    }
    await writeFile(join(root, 'sums'), sums.join(''))
    await writeFile(join(root, 'init'), INIT)
    await chmod(join(root, 'init'), 0o755)
    const initrd = join(work, 'initrd.cpio')
    runOk('sh', ['-c', 'find . | cpio --quiet -o -H newc -F "$0"', initrd], { cwd: root })
    return { kernel: join(store, 'bzImage'), initrd, fileCount: sums.length }
  }

  it(
    'is mounted, read, written to, grown and clean',
    async () => {
      const { kernel, initrd, fileCount } = await makeInitrd()
      const image = join(work, 'ext4.img')
      await writeImageFile(ext4(tree, { ...OPTIONS, size: 192 * MIB }), image)
      await truncate(image, 2048 * MIB)
      const { stdout } = spawnSync(
        'qemu-system-x86_64',
        [
          ['-nodefaults', '-machine', 'q35', '-accel', 'tcg', '-cpu', 'qemu64', '-smp', '1', '-m', '512'],
          ['-display', 'none', '-serial', 'stdio', '-monitor', 'none', '-no-reboot', '-nic', 'none'],
          ['-kernel', kernel, '-initrd', initrd, '-append', 'console=ttyS0 panic=-1 quiet'],
          ['-drive', `if=none,id=disk,format=raw,file=${image}`, '-device', 'virtio-blk-pci,drive=disk'],
        ].flat(),
        { timeout: 5 * MINUTES, killSignal: 'SIGKILL', encoding: 'latin1' },
      )
      const said = [...stdout.matchAll(/^TEST (.*?)\r?$/gm)].map(([, text]) => text)
      expect(said, stdout.slice(-3000)).toEqual([
        'mounted',
        `contents ${fileCount}`,
        'links',
        'names',
        'grown 1',
        'written',
        `again ${fileCount}`,
        'unmounted',
      ])
      expect(fsckFindings(image)).toBe('')
    },
    10 * MINUTES,
  )
})

describe.each(['traps', 'live'] as const)('the %s closure as ext4', (name) => {
  const closure = generatedClosure(name)

  it.skipIf(closure.skip || oracle('e2fsck', 'debugfs').skip)(
    'is clean, and unpacked by debugfs as it was',
    async () => {
      const work = await mkdtemp(join(tmpdir(), 'kilnix-ext4-closure-'))
      try {
        const image = join(work, 'ext4.img')
        const folder = { mode: 0o755, uid: 0, gid: 0, mtimeSeconds: 1 }
        const root = treeAt('/nix/store', scanHost(closure.store, HOST_ATTRIBUTES), folder)
        await writeImageFile(ext4(root, { ...OPTIONS, freeSize: 64 * MIB }), image)
        expect(fsckFindings(image)).toBe('')
        runOk('debugfs', ['-R', `rdump /nix ${work}`, image])
        expect(compareTrees(closure.store, join(work, 'nix/store'), { owners: false })).toEqual([])
      } finally {
        await removeStore(work)
      }
    },
    5 * MINUTES,
  )
})
