/** The command in one process, as tests and scripts run it: it leaves no more listeners each time. */
import { expect, it } from 'vitest'
import { main } from '../../src/cli/main.ts'
import { withSignals } from '../../src/cli/signals.ts'

const EVENTS = ['exit', 'uncaughtException', 'SIGHUP', 'SIGINT', 'SIGTERM'] as const
const counts = (): readonly number[] => EVENTS.map((event) => process.listenerCount(event))

it('however often it runs', async () => {
  const run = async (): Promise<readonly number[]> => {
    expect(await main(['no-such-command'])).toBe(2)
    expect(await withSignals(async () => 3)).toBe(3)
    await expect(withSignals(() => Promise.reject(new Error('x')))).rejects.toThrow('x')
    return counts()
  }
  const first = await run()
  for (let times = 0; times < 2; times++) expect(await run()).toEqual(first)
})
