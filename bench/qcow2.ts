/**
 * Is a compressed qcow2 made in half the wall time of `qemu-img convert -c`, with the same cluster size and codec?
 *
 *     DISK=/path/to/disk.raw node bench/qcow2.ts [zlib/64K] [zstd/64K] ...
 *
 * Without DISK an ext4 file system is made of the large closure (mke2fs -d). Both read the same raw disk, as a file
 * whose zeros they find by themselves, and write a file. qemu-img compresses zlib at level 6 and zstd at level 3.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { qcow2Compressed } from '../src/disks/qcow2/index.ts'
import { openRaw } from '../src/disks/raw/index.ts'
import { saveImage } from '../src/io/output.ts'
import { FileSource } from '../src/io/source.ts'

const DEFAULT_SETTINGS = ['zlib/64K', 'zstd/64K']
const JOBS = Number(process.env['JOBS'] ?? '2')
const CODECS = { zlib: { name: 'gzip', level: 6 }, zstd: { name: 'zstd', level: 3 } } as const

if (process.argv[2] === '--convert') await convert(process.argv.slice(3))
else await compare()

/** The contestant: from a raw file to a qcow2. */
async function convert([input = '', output = '', codec = '', clusterSize = '']: readonly string[]): Promise<void> {
  const source = await FileSource.open(input)
  const image = qcow2Compressed(await openRaw(source), {
    clusterSize: Number.parseInt(clusterSize, 10) * 1024,
    codec: codec === 'zstd' ? CODECS.zstd : CODECS.zlib,
  })
  await saveImage(image, output, { jobs: JOBS, digest: false, force: true })
  await source.close()
}

async function compare(): Promise<void> {
  const { contest, LARGE, requireClosure } = await import('./contest.ts')
  const folder = mkdtempSync(join(process.env['BENCH_DIR'] ?? tmpdir(), 'kilnix-disk-'))
  try {
    const disk = process.env['DISK'] ?? join(folder, 'disk.raw')
    if (!existsSync(disk)) {
      requireClosure()
      execFileSync('/usr/sbin/mke2fs', ['-q', '-t', 'ext4', '-d', `${LARGE}/root`, disk, '2G'])
    }
    for (const setting of process.argv.length > 2 ? process.argv.slice(2) : DEFAULT_SETTINGS) {
      const [codec = '', clusterSize = ''] = setting.split('/')
      contest(
        `qcow2 ${setting}`,
        [
          {
            name: 'kilnix',
            command: `${process.execPath} ${fileURLToPath(import.meta.url)} --convert ${disk} $OUT ${codec} ${clusterSize}`,
          },
          {
            name: 'qemu-img convert -c',
            command: `qemu-img convert -c -f raw -O qcow2 -o compression_type=${codec},cluster_size=${clusterSize} ${disk} $OUT; sync $OUT`,
          },
        ],
        Number(process.env['ROUNDS'] ?? 3),
      )
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
