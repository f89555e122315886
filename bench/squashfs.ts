/**
 * Is `kilnix squashfs` as fast as mksquashfs on the same store, and its image no larger?
 *
 *     MKSQUASHFS=/path/to/mksquashfs-4.7 node bench/squashfs.ts [zstd:19/1M] [zstd:3/128K] [lz4/128K] ...
 *
 * mksquashfs is called as nixpkgs calls it. Kilnix also checks the NAR hash of every path, syncs the file and
 * prints its SHA-256; `unverified` leaves the NAR hashes out, and its difference is what they cost.
 */
import { spawnSync } from 'node:child_process'
import { contest, KILNIX, LARGE, MKSQUASHFS, requireClosure } from './contest.ts'

const DEFAULT_SETTINGS = ['zstd:3/128K', 'lz4/128K', 'zstd:19/1M']
const JOBS = process.env['JOBS'] ?? '2'

requireClosure()
console.log(spawnSync(MKSQUASHFS, ['-version']).stdout.toString().split('\n')[0])

for (const setting of process.argv.length > 2 ? process.argv.slice(2) : DEFAULT_SETTINGS) {
  const [compression = '', blockSize = ''] = setting.split('/')
  const [codec, level] = compression.split(':')
  const comp = level === undefined ? `-comp ${codec}` : `-comp ${codec} -Xcompression-level ${level}`
  const ours = `${KILNIX} squashfs --closure ${LARGE} --root ${LARGE}/root --compression ${compression} --block-size ${blockSize} --jobs ${JOBS} -o $OUT`
  const rounds = Number(process.env['ROUNDS'] ?? (Number(level ?? 1) > 9 ? 1 : 5))
  contest(
    setting,
    [
      { name: 'kilnix', command: ours },
      { name: 'kilnix unverified', command: `${ours} --no-verify` },
      {
        name: 'mksquashfs',
        command: `cd ${LARGE}; cp registration $OUT.nix-path-registration; SOURCE_DATE_EPOCH=0 ${MKSQUASHFS} $OUT.nix-path-registration $(sed 's|^|root|' store-paths) $OUT -noappend -no-hardlinks -keep-as-directory -all-root -root-mode 0755 -b ${blockSize} ${comp} -processors ${JOBS} -quiet -no-progress`,
      },
    ],
    rounds,
  )
}
