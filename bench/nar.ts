/**
 * Are the NAR hashes of a whole closure there in half the time that `nix-store --dump | sha256sum` takes for all of its
 * paths?
 *
 *     node bench/nar.ts
 *
 * `kilnix closure check` also looks for all references in the same reading and compares everything with the listing.
 * `kilnix nar hash` is one thread and one path, the largest of the closure.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { contest, KILNIX, LARGE, requireClosure } from './contest.ts'

requireClosure()
const ROUNDS = Number(process.env['ROUNDS'] ?? 5)
const JOBS = process.env['JOBS'] ?? '2'

contest(
  'all NAR hashes of the closure',
  [
    { name: `kilnix, ${JOBS} threads`, command: `${KILNIX} closure check ${LARGE} --root ${LARGE}/root --jobs ${JOBS} > $OUT` },
    { name: 'kilnix, 1 thread', command: `${KILNIX} closure check ${LARGE} --root ${LARGE}/root --jobs 1 > $OUT` },
    {
      name: 'nix-store --dump | sha256sum',
      command: `for path in $(cat ${LARGE}/store-paths); do nix-store --dump ${LARGE}/root$path | sha256sum; done > $OUT`,
    },
  ],
  ROUNDS,
)

const largest = largestPath()
contest(
  `the NAR hash of one path (${largest.slice('/nix/store/'.length + 33)})`,
  [
    { name: 'kilnix nar hash', command: `${KILNIX} nar hash ${LARGE}/root${largest} > $OUT` },
    { name: 'nix-store --dump | sha256sum', command: `nix-store --dump ${LARGE}/root${largest} | sha256sum > $OUT` },
  ],
  ROUNDS,
)

/** By the sizes in the registration: path, hash, size, deriver, number of references, references. */
function largestPath(): string {
  const lines = readFileSync(join(LARGE, 'registration'), 'utf8').split('\n')
  let best = { path: '', size: 0 }
  for (let at = 0; at + 4 < lines.length; at += 5 + Number(lines[at + 4])) {
    const size = Number(lines[at + 2])
    if (size > best.size) best = { path: lines[at] ?? '', size }
  }
  return best.path
}
