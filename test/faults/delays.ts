/**
 * Loaded before the command (`--import`), in its worker threads too: reads and writes of files now and then take longer, by
 * numbers from a seed, so that whatever depends on who is faster comes out another way.
 */
import fs from 'node:fs'
import { open } from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import { setTimeout } from 'node:timers/promises'
import { threadId } from 'node:worker_threads'
import { Dice } from '../dice.ts'

const seed = Number(process.env.KILNIX_TEST_DELAYS ?? 0)
const dice = new Dice(seed * 1000 + threadId)
const milliseconds = (): number => dice.below(30) / 10
const never = new Int32Array(new SharedArrayBuffer(4))

const readSync = fs.readSync as (...args: unknown[]) => number
fs.readSync = ((...args: unknown[]) => {
  if (dice.chance(2)) Atomics.wait(never, 0, 0, milliseconds())
  return readSync(...args)
}) as typeof fs.readSync
syncBuiltinESMExports()

const handle = await open(new URL(import.meta.url), 'r')
const prototype = Object.getPrototypeOf(handle) as Record<'read' | 'write', (...args: unknown[]) => Promise<unknown>>
await handle.close()
for (const name of ['read', 'write'] as const) {
  const original = prototype[name]
  prototype[name] = async function (...args) {
    if (dice.chance(10)) await setTimeout(milliseconds())
    return original.apply(this, args)
  }
}
