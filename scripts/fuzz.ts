/**
 * Damaged NARs and listings until the time is over: `node scripts/fuzz.ts [SECONDS] [FIRST_SEED]`, by default a minute from
 * seed 1000 on. The input of a finding is written to a file in the folder for temporary files, and the exit status is 1.
 */
import { writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Finding, fuzzListings, fuzzNars } from '../test/nix/fuzz.ts'

const TARGETS = { nar: fuzzNars, listing: fuzzListings }
const ROUNDS = 500

const [seconds = 60, firstSeed = 1000] = process.argv.slice(2).map(Number)
const end = performance.now() + seconds * 1000
const totals = new Map(Object.keys(TARGETS).map((name) => [name, { taken: 0, refused: 0 }]))
let seed = firstSeed
for (; performance.now() < end; seed++) {
  for (const [name, fuzz] of Object.entries(TARGETS)) {
    try {
      const { taken, refused } = await fuzz(seed, ROUNDS)
      const total = totals.get(name)
      if (total !== undefined) totals.set(name, { taken: total.taken + taken, refused: total.refused + refused })
    } catch (error) {
      if (!(error instanceof Finding)) throw error
      const file = join(tmpdir(), `kilnix-fuzz-${name}-${seed}`)
      writeFileSync(file, error.input)
      console.error(`${name}, seed ${seed}: ${error.message}\nThe input is in ${file}`, error.cause ?? '')
      process.exitCode = 1
    }
  }
}
console.log(`seeds ${firstSeed} to ${seed - 1}`)
for (const [name, { taken, refused }] of totals) console.log(`${name}: ${taken} taken, ${refused} refused`)
