import { storeCommand } from '../command.ts'
import { storeInput } from '../input.ts'
import { row } from '../row.ts'
import * as rows from '../rows.ts'
import { CACHES } from '../source-rows.ts'
import { formatBytes } from '../units.ts'

export default storeCommand({
  name: 'store fetch',
  writes: 'store',
  help: {
    summary: 'Fetch a closure from binary caches into a folder, with its listing, for other tools',
    usage: 'kilnix store fetch --from URL PATH... -o DIR [options]',
    examples: [
      {
        about: 'The store below DIR/nix/store, its listings beside it',
        line: 'kilnix store fetch --from https://cache.nixos.org /nix/store/HASH-NAME -o ./store',
      },
    ],
  },
  rows: {
    paths: row({ ...rows.PATHS, required: true }),
    ...CACHES,
    from: row({ ...CACHES.from, required: true }),
    verify: rows.VERIFY,
    provenance: rows.PROVENANCE,
    output: rows.FOLDER,
    force: rows.FORCE_ANYTHING,
    ...rows.DRY_RUN,
    progress: rows.PROGRESS,
    quiet: rows.QUIET,
  },
  async plan(given, context) {
    const { loadClosure } = await import('../../system/store.ts')
    const { closure, roots, narBytes } = await loadClosure({ ...given, ...storeInput(given, context) })
    return { roots, paths: closure.paths.map(({ path }) => path), narBytes }
  },
  async make(given, context) {
    const { fetchedStore } = await import('../../system/fetched-store.ts')
    const store = await fetchedStore({ ...given, ...storeInput(given, context) })
    return { store, results: store.roots, summary: (written, size) => `${written.length} written (${formatBytes(size)})` }
  },
})
