/**
 * Is `kilnix disk` as fast as the tools that nixpkgs runs one after the other, and a compressed qcow2 in half their time?
 *
 *     node bench/disk.ts [raw] [zlib/64K] [zstd/64K]
 *
 * Both write a GPT disk of the large closure with an ext4 root of the same size. `mke2fs -d` has it easier: it checks no
 * hashes, and its Nix database is that which the closure's own Nix wrote. What it is given here lies there already;
 * nixpkgs copies the store to a folder first, which is the contestant with `cp`.
 */
import { execFileSync } from 'node:child_process'
import { contest, KILNIX, LARGE, requireClosure } from './contest.ts'

const DEFAULT_SETTINGS = ['raw', 'zlib/64K', 'zstd/64K']
const JOBS = process.env['JOBS'] ?? '2'
const ROUNDS = Number(process.env['ROUNDS'] ?? 3)
/** As qemu-img compresses. */
const CODECS: Readonly<Record<string, string>> = { zlib: 'gzip:6', zstd: 'zstd:3' }

requireClosure()
const input = `--closure ${LARGE} --root ${LARGE}/root --layout legacy+gpt --boot-loader none --jobs ${JOBS}`
const [node = '', program = ''] = KILNIX.split(' ')
const plan = JSON.parse(execFileSync(node, [program, 'disk', ...input.split(' '), '--dry-run', '--json'], { encoding: 'utf8' }))
const root = plan.partitions.at(-1)

for (const setting of process.argv.length > 2 ? process.argv.slice(2) : DEFAULT_SETTINGS) {
  if (setting === 'raw') compareRaw()
  else compareQcow2(setting)
}

function compareRaw(): void {
  contest(
    'disk, raw',
    [
      { name: 'kilnix', command: `${KILNIX} disk ${input} -o $OUT` },
      { name: 'kilnix --no-verify', command: `${KILNIX} disk ${input} --no-verify -o $OUT` },
      {
        name: 'cp, mke2fs -d',
        command: `mkdir -p $OUT.root; trap 'rm -rf $OUT.root' EXIT; cp -a ${LARGE}/root/nix $OUT.root/; ${referenceDisk(`$OUT.root`, '$OUT')}; sync $OUT`,
      },
      { name: 'mke2fs -d', command: `${referenceDisk(`${LARGE}/root`, '$OUT')}; sync $OUT` },
    ],
    ROUNDS,
  )
}

function compareQcow2(setting: string): void {
  const [codec = '', clusterSize = ''] = setting.split('/')
  contest(
    `disk, qcow2 ${setting}`,
    [
      { name: 'kilnix', command: `${KILNIX} disk ${input} --format qcow2-compressed --compression ${CODECS[codec]} -o $OUT` },
      {
        name: 'mke2fs -d, qemu-img -c',
        command: `trap 'rm -f $OUT.raw' EXIT; ${referenceDisk(`${LARGE}/root`, '$OUT.raw')}
          qemu-img convert -c -f raw -O qcow2 -o compression_type=${codec},cluster_size=${clusterSize} $OUT.raw $OUT; sync $OUT`,
      },
    ],
    ROUNDS,
  )
}

/** The file system is made where it belongs, so that nothing is copied. */
function referenceDisk(folder: string, file: string): string {
  const [start, sectors] = [root.start / 512, root.size / 512]
  return `truncate -s ${plan.diskSize} ${file}
    /usr/sbin/sgdisk -a 1 -n 1:2048:4095 -t 1:ef02 -n 2:${start}:${start + sectors - 1} ${file}
    /usr/sbin/mke2fs -q -F -t ext4 -L nixos -d ${folder} -E offset=${root.start} ${file} ${root.size / 1024}k`
}
