/** Running `kilnix replace`: rewritten paths and the listing of the new closure, in a folder. */

import { checkApart, checkHoldsNone } from '../io/apart.ts'
import { closureRoots } from '../nix/rewrite/replace.ts'
import { storePath } from '../nix/store/store-path.ts'
import { planStoreReplacement } from '../system/replaced-store.ts'
import { saveStore } from '../system/saved-store.ts'
import { loadClosure } from '../system/store.ts'
import type { Settings } from './options.ts'
import { storeInput } from './recipes.ts'
import { configFile, printPlan, withProgress } from './run-common.ts'
import { say } from './stderr.ts'
import { printResult } from './stdout.ts'
import { formatBytes } from './units.ts'
import { usage } from './values.ts'

/** Resolves to the exit status; throws what replacing and writing throw. */
export async function runReplace(settings: Settings): Promise<number> {
  const { output = '-', dryRun, force } = settings
  if (output === '-' && !dryRun) throw usage('--output is -; a store cannot be streamed, name a folder to write')
  return withProgress(settings, async (run) => {
    const { signal, progress } = run
    const input = storeInput(settings, { signal, onProgress: progress.listener })
    if (dryRun) {
      const { replacements: _, ...unchanged } = input
      return printPlan({ ...(await planStoreReplacement(await loadClosure(unchanged), input)) }, settings, run)
    }
    const store = await loadClosure(input)
    const inputs = [...store.inputs, ...configFile(settings)]
    checkApart(output, inputs)
    if (force) checkHoldsNone(output, inputs)
    const { written, narBytes } = await saveStore(store, output, {
      ...input,
      paths: settings.wholeStore ? 'all' : 'made',
      force,
    })
    progress.clear()
    await printResult(closureRoots(store.closure).map(storePath), output, signal)
    if (!settings.quiet) {
      const seconds = run.seconds().toFixed(1)
      const counts = `${store.overlay.size} paths rewritten, ${written.length} written (${formatBytes(narBytes)})`
      say(`${output}: ${counts}, ${store.closure.paths.length} in the closure, ${seconds} s`)
    }
    return 0
  })
}
