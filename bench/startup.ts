/**
 * How long does `kilnix --help` take? The aim is less than 100 ms, of which Node itself is the most.
 *
 *     node bench/startup.ts
 */
import { contest, KILNIX } from './contest.ts'

contest(
  'startup',
  [
    { name: 'kilnix --help', command: `${KILNIX} --help` },
    { name: 'kilnix iso --help', command: `${KILNIX} iso --help` },
    { name: 'node -e 0', command: `${process.execPath} -e 0` },
  ],
  10,
)
