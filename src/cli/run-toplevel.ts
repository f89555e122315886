/** Running `kilnix toplevel`: a store with the system in it, and the listing of its closure, in a folder. */

import { checkApart, checkHoldsNone } from '../io/apart.ts'
import { saveStore } from '../system/saved-store.ts'
import { loadClosure } from '../system/store.ts'
import type { Settings } from './options.ts'
import { storeInput } from './recipes.ts'
import { configFile, printPlan, withProgress } from './run-common.ts'
import { say } from './stderr.ts'
import { printResult } from './stdout.ts'
import { formatBytes } from './units.ts'
import { usage } from './values.ts'

/** Resolves to the exit status; throws what assembling and writing throw. */
export async function runToplevel(settings: Settings): Promise<number> {
  const { output = '-', dryRun, force } = settings
  if (output === '-' && !dryRun) throw usage('--output is -; a store cannot be streamed, name a folder to write')
  return withProgress(settings, async (run) => {
    const { signal, progress } = run
    const input = { ...storeInput(settings, { signal, onProgress: progress.listener }), toplevelSpec: settings.spec ?? '' }
    const store = await loadClosure(input)
    const { assembled: toplevel = '' } = store
    if (dryRun) {
      const made = store.closure.paths.filter(({ baseName }) => store.overlay.has(baseName)).map(({ path }) => path)
      return printPlan({ toplevel, made, pathCount: store.closure.paths.length, narBytes: store.narBytes }, settings, run)
    }
    const inputs = [...store.inputs, ...configFile(settings)]
    checkApart(output, inputs)
    if (force) checkHoldsNone(output, inputs)
    const { written, narBytes } = await saveStore(store, output, { ...input, paths: settings.wholeStore ? 'all' : 'made', force })
    progress.clear()
    await printResult([toplevel], output, signal)
    if (!settings.quiet) {
      const seconds = run.seconds().toFixed(1)
      const paths = `${written.length} store ${written.length === 1 ? 'path' : 'paths'} written (${formatBytes(narBytes)})`
      say(`${output}: ${paths}, ${store.closure.paths.length} in the closure, ${seconds} s`)
    }
    return 0
  })
}
