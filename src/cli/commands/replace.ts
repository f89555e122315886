import { storeCommand } from '../command.ts'
import { storeInput } from '../input.ts'
import { row } from '../row.ts'
import * as rows from '../rows.ts'
import { formatBytes } from '../units.ts'

export default storeCommand({
  name: 'replace',
  writes: 'store',
  help: {
    summary: 'Put other store paths in place of some, and rewrite all that refers to them',
    usage: 'kilnix replace PATH|--closure CLOSURE --replace OLD=NEW -o DIR [options]',
    examples: [
      {
        about: 'A mended library in a system that nobody rebuilds; both are in the listing',
        line: 'nix path-info -r --json SYSTEM NEW | kilnix replace --closure - --replace OLD=NEW -o patched',
      },
      {
        about: 'An ISO of the same, with nothing written in between',
        line: 'kilnix iso --closure closure.json --replace OLD=NEW -o nixos.iso',
      },
    ],
  },
  rows: {
    ...rows.SOURCE,
    ...rows.STORE_FILES,
    replacements: row({ ...rows.REPLACEMENTS, required: true }),
    ...rows.STORE_OUTPUT,
  },
  async plan(given, context) {
    const { planStoreReplacement } = await import('../../system/replaced-store.ts')
    const { loadClosure } = await import('../../system/store.ts')
    const { replacements: _, contentAddressScheme: __, ...listed } = { ...given, ...storeInput(given, context) }
    return planStoreReplacement(await loadClosure(listed), { ...given, ...storeInput(given, context) })
  },
  async make(given, context) {
    const { closureRoots } = await import('../../nix/rewrite/replace.ts')
    const { storePath } = await import('../../nix/store/store-path.ts')
    const { versionsOf } = await import('../../nix/store/address-scheme.ts')
    const { loadClosure } = await import('../../system/store.ts')
    const store = await loadClosure({ ...given, ...storeInput(given, context) })
    return {
      store,
      results: closureRoots(store.closure).map(storePath),
      summary: (written, size) =>
        `${store.overlay.size} paths rewritten for ${versionsOf(store)}, ${written.length} written (${formatBytes(size)})`,
    }
  },
})
