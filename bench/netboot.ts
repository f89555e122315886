/**
 * Is `kilnix netboot` as fast as mksquashfs, cpio and a compressor, and how much of it does a changed store path cost? Is
 * `kilnix initrd` as fast as cpio and a compressor?
 *
 *     MKSQUASHFS=/path/to/mksquashfs-4.7 node bench/netboot.ts [single] [rebuild] [initrd]
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { contest, KILNIX, LARGE, MKSQUASHFS, requireClosure } from './contest.ts'

const JOBS = process.env['JOBS'] ?? '2'
const ROUNDS = Number(process.env['ROUNDS'] ?? 3)
const QUESTIONS: Readonly<Record<string, () => void>> = { single, rebuild, initrd }

requireClosure()
const toplevel = readFileSync(`${LARGE}/toplevel`, 'utf8').trim()
const input = `--closure ${LARGE} --root ${LARGE}/root --jobs ${JOBS}`
for (const name of process.argv.length > 2 ? process.argv.slice(2) : Object.keys(QUESTIONS)) QUESTIONS[name]?.()

function single(): void {
  for (const compression of ['', ' | zstd -q -10']) {
    const ours = compression === '' ? 'none' : 'zstd:10'
    contest(
      `single, squashfs of zstd:3/1M, archive around it ${ours}`,
      [
        {
          name: 'kilnix netboot',
          command: `${KILNIX} netboot ${input} --compression zstd:3 --initrd-compression ${ours} -o $OUT`,
        },
        { name: 'mksquashfs, cpio, compressor', command: referenceSingle(compression) },
      ],
      ROUNDS,
    )
  }
}

/** As nixpkgs' netboot.nix and make-initrd-ng.nix have it; that one compresses what is compressed already. */
function referenceSingle(compressor: string): string {
  return `
    W=$OUT.work; rm -rf $W; mkdir -p $W/tree $OUT; trap 'rm -rf $W' EXIT
    cd ${LARGE}; cp registration $W/nix-path-registration
    SOURCE_DATE_EPOCH=0 ${MKSQUASHFS} $W/nix-path-registration $(sed 's|^|root|' store-paths) $W/tree/nix-store.squashfs -no-hardlinks -keep-as-directory -all-root -root-mode 0755 -b 1M -comp zstd -Xcompression-level 3 -processors ${JOBS} -quiet -no-progress
    cp root$(readlink root${toplevel}/kernel) $OUT/bzImage; cp root$(readlink root${toplevel}/initrd) $OUT/initrd; chmod 644 $OUT/*
    cd $W/tree; touch -h -d @1 nix-store.squashfs
    echo nix-store.squashfs | cpio --quiet -o -H newc -R +0:+0 --reproducible${compressor} >> $OUT/initrd`
}

/** The pieces of all store paths but one are there: the same work as when one has changed. */
function rebuild(): void {
  const pieces = mkdtempSync(join(process.env['BENCH_DIR'] ?? tmpdir(), 'kilnix-pieces-'))
  try {
    for (const style of ['per-path', 'manifest', 'single']) {
      const build = `${KILNIX} netboot ${input} --style ${style} --compression zstd:10 -o $OUT --pieces`
      const changed = style === 'single' ? '' : `rm ${pieces}/${style}/*${basename(toplevel).slice(33)}*;`
      const first = spawnSync('bash', ['-euc', `${build} ${pieces}/${style}`], {
        env: { ...process.env, OUT: `${pieces}/out` },
        stdio: 'inherit',
      })
      if (first.status !== 0) throw new Error('the first build failed')
      rmSync(`${pieces}/out`, { recursive: true })
      contest(
        `${style}, zstd:10`,
        [
          { name: style === 'single' ? 'nothing has changed' : 'one path has changed', command: `${changed} ${build} ${pieces}/${style}` },
          { name: 'first build', command: `rm -rf ${pieces}/new; ${build} ${pieces}/new` },
        ],
        ROUNDS,
      )
    }
  } finally {
    rmSync(pieces, { recursive: true, force: true })
  }
}

function initrd(): void {
  const cpio = `cd ${LARGE}/root; find nix -print0 | LC_ALL=C sort -z | cpio --quiet -o -H newc -R +0:+0 --reproducible --null`
  const settings: readonly (readonly [string, string])[] = [
    ['zstd:10', 'zstd -q -10'],
    ['zstd:10', `zstd -q -10 -T${JOBS}`],
    ['gzip:9', 'gzip -9n'],
    ['lz4', 'lz4 -q -l'],
  ]
  for (const [compression, compressor] of settings) {
    contest(
      `initrd of the closure, ${compression}`,
      [
        { name: 'kilnix initrd', command: `${KILNIX} initrd ${input} --compression ${compression} -o $OUT` },
        { name: `cpio | ${compressor}`, command: `${cpio} | ${compressor} > $OUT` },
      ],
      compression === 'gzip:9' ? 1 : ROUNDS,
    )
  }
}
