/**
 * How long does `kilnix zfs` take for its compression, and how long does the same take with the tools that there are?
 *
 *     node bench/zfs.ts [lz4] [zstd-3] [machine]
 *
 * `lz4`, `zstd-3`: both disks with the large closure in a pool, against mksquashfs with blocks of the same size, which has
 * it easier: it checks no hashes, packs small files together, and what it makes is read-only. A second row leaves out the empty room of the
 * boot disk, whose digest is a good part of the first.
 * `machine`: the same content in a fresh pool that a kernel makes, as nixpkgs does it: QEMU, `zpool create`, and files
 * that are unpacked from a disk, which is made before. It needs `fixtures/zfs/module.sh`. The boot of the machine counts.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { contest, KILNIX, LARGE, MKSQUASHFS, requireClosure } from './contest.ts'

const DEFAULT_SETTINGS = ['lz4', 'zstd-3']
const JOBS = process.env['JOBS'] ?? '2'
const ROUNDS = Number(process.env['ROUNDS'] ?? 3)
const MACHINE = join(import.meta.dirname, '../.cache/zfs/machine-bookworm')

requireClosure()
const input = `--closure ${LARGE} --root ${LARGE}/root --boot-loader none --jobs ${JOBS}`
const kilnix = (compression: string, more = ''): string =>
  `${KILNIX} zfs ${input} --root-size auto --fs-prop compression=${compression} ${more} -o $OUT`

for (const setting of process.argv.length > 2 ? process.argv.slice(2) : DEFAULT_SETTINGS) {
  if (setting === 'machine') compareMachine()
  else comparePacking(setting)
}

function comparePacking(compression: string): void {
  const [codec, level] = compression.split('-')
  const comp = level === undefined ? `-comp ${codec}` : `-comp ${codec} -Xcompression-level ${level}`
  contest(
    `zfs, ${compression}`,
    [
      { name: 'kilnix', command: kilnix(compression) },
      { name: 'kilnix --boot-size auto', command: kilnix(compression, '--boot-size auto') },
      { name: 'kilnix --no-verify', command: kilnix(compression, '--no-verify') },
      { name: 'mksquashfs', command: `${squashfs(comp, '$OUT')}; sync $OUT` },
    ],
    ROUNDS,
  )
}

function squashfs(comp: string, file: string): string {
  return `${MKSQUASHFS} ${LARGE}/root/nix/store ${file} -noappend -no-hardlinks -all-root -b 128K ${comp} -processors ${JOBS} -quiet -no-progress`
}

function compareMachine(): void {
  if (!existsSync(join(MACHINE, 'initrd'))) {
    console.log(`no machine in ${MACHINE}: run fixtures/zfs/module.sh`)
    process.exit(1)
  }
  const folder = mkdtempSync(join(process.env['BENCH_DIR'] ?? tmpdir(), 'kilnix-bench-machine-'))
  try {
    run(`tar -C ${LARGE}/root/nix -cf ${folder}/content store`)
    const script = `set -e
zpool create -f -o ashift=12 -O compression=lz4 -O mountpoint=legacy tank /dev/vdb1
mkdir -p /tank
mount -t zfs tank /tank
tar -x -f /dev/vda -C /tank
umount /tank
zpool export tank
echo THE-POOL-IS-MADE
`
    mkdirSync(join(folder, 'front/test'), { recursive: true })
    writeFileSync(join(folder, 'front/test/script'), script, { mode: 0o755 })
    run(`cd ${folder}/front; find . | cpio --quiet --create --format=newc > ../front.cpio; cat ../front.cpio ${MACHINE}/initrd > ../initrd`)
    const machine = `qemu-system-x86_64 -accel tcg,thread=multi -cpu max -smp 2 -m 2048 -nographic -nodefaults -serial stdio -no-reboot
      -kernel ${MACHINE}/vmlinuz -initrd ${folder}/initrd -append 'console=ttyS0 panic=-1 quiet'
      -drive file=${folder}/content,format=raw,if=virtio,readonly=on -drive file=$OUT,format=raw,if=virtio,cache=unsafe`
    contest(
      'zfs, the same in a machine',
      [
        { name: 'kilnix', command: kilnix('lz4') },
        {
          name: 'QEMU, zpool create, tar',
          command: `truncate -s 2G $OUT; /usr/sbin/sgdisk -n 1:2048:0 $OUT; ${machine.replaceAll('\n', ' ')} < /dev/null | tee ${folder}/log; grep -q THE-POOL-IS-MADE ${folder}/log; sync $OUT`,
        },
      ],
      1,
    )
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

function run(command: string): void {
  const { status, stderr } = spawnSync('bash', ['-euc', command], { stdio: ['ignore', 'ignore', 'pipe'] })
  if (status !== 0) throw new Error(`${command}\n${stderr}`)
}
