import { storeCommand } from '../command.ts'
import { storeInput } from '../input.ts'
import { row } from '../row.ts'
import * as rows from '../rows.ts'
import { formatBytes } from '../units.ts'
import { path } from '../values.ts'

export default storeCommand({
  name: 'toplevel',
  writes: 'store',
  help: {
    summary: 'Assemble the system directory of NixOS from a spec and parts that are built',
    usage: 'kilnix toplevel SPEC.json PATH|--closure CLOSURE -o DIR [options]',
    examples: [
      { about: 'The new store paths, and the listing of their closure', line: 'kilnix toplevel system.json --closure ./parts -o ./system' },
      {
        about: 'What would be made, for programs',
        line: 'kilnix toplevel system.json --closure ./parts -o ./system --dry-run --json',
      },
    ],
  },
  rows: {
    toplevelSpec: row({
      type: path('SPEC.json'),
      group: 'Input',
      flag: 'spec',
      required: true,
      positional: true,
      configurable: false,
      about: 'What the system is made of; kilnix schema toplevel prints the JSON Schema of it',
    }),
    ...rows.SOURCE,
    ...rows.STORE_FILES,
    ...rows.STORE_OUTPUT,
  },
  async plan(given, context) {
    const { loadClosure } = await import('../../system/store.ts')
    const { assembled, closure, overlay, narBytes, contentAddressScheme } = await loadClosure({ ...given, ...storeInput(given, context) })
    const made = closure.paths.filter(({ baseName }) => overlay.has(baseName)).map(({ path }) => path)
    return { toplevel: assembled, made, pathCount: closure.paths.length, narBytes, contentAddressScheme }
  },
  async make(given, context) {
    const { versionsOf } = await import('../../nix/store/address-scheme.ts')
    const { loadClosure } = await import('../../system/store.ts')
    const store = await loadClosure({ ...given, ...storeInput(given, context) })
    return {
      store,
      results: store.assembled === undefined ? [] : [store.assembled],
      summary: (written, size) =>
        `${written.length} store ${written.length === 1 ? 'path' : 'paths'} written for ${versionsOf(store)} (${formatBytes(size)})`,
    }
  },
})
