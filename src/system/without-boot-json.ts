/**
 * Systems from before bootspec (NixOS 22.11, which made boot.json on demand, and earlier): what boot.json would say stands in
 * the links and files of the toplevel, from which nixpkgs' builders of boot menus took it.
 */
import { utf8 } from '../bytes/text.ts'
import { badInput, ImageError } from '../errors.ts'
import type { JsonObject } from '../json/parse.ts'
import { resolveInStore } from '../nix/store/resolve.ts'
import type { StoreTrees } from '../nix/store/store-trees.ts'
import { sortedEntries } from '../tree/tree.ts'
import { type Bootspec, parseBootspec, SPEC_KEY, SPECIALISATION_KEY } from './bootspec.ts'
import { directoryInStore, textInStore } from './store-files.ts'

/** By it a system is known that has no boot.json: systems without a kernel have none, and neither has anything else. */
export const PARAMETERS_FILE = 'kernel-params'

/**
 * From `kernel`, `initrd`, `kernel-params`, `init`, `system`, `nixos-version`, `append-initrd-secrets` and `specialisation`. A
 * specialisation that has a boot.json is read by `load`. Throws NOT_FOUND, BAD_INPUT, and what `trees` throws.
 */
export async function bootspecWithoutBootJson(
  toplevel: string,
  trees: StoreTrees,
  load: (path: string) => Promise<Bootspec>,
): Promise<Bootspec> {
  const specialisations = new Map<string, Bootspec>()
  for (const name of await namesIn(`${toplevel}/specialisation`, trees)) {
    const { path } = await resolveInStore(`${toplevel}/specialisation/${name}`, trees)
    specialisations.set(name, await load(Buffer.from(path).toString()))
  }
  const where = `${toplevel} (which has no boot.json)`
  const document = { [SPEC_KEY]: await fieldsOf(toplevel, trees), [SPECIALISATION_KEY]: {} }
  return { ...parseBootspec(utf8(JSON.stringify(document)), where), specialisations }
}

async function fieldsOf(toplevel: string, trees: StoreTrees): Promise<JsonObject> {
  const text = async (name: string): Promise<string | undefined> => (await textInStore(`${toplevel}/${name}`, { trees }))?.trim()
  const target = async (name: string): Promise<string | undefined> => {
    try {
      return Buffer.from((await resolveInStore(`${toplevel}/${name}`, trees)).path).toString()
    } catch (error) {
      if (error instanceof ImageError && error.code === 'NOT_FOUND') return undefined
      throw error
    }
  }
  const required = <T>(value: T | undefined, name: string): T => {
    if (value !== undefined) return value
    throw badInput(toplevel, `has no boot.json, and no file '${name}' in place of it; it is no system that can be started`)
  }
  const parameters = required(await text(PARAMETERS_FILE), PARAMETERS_FILE)
  const [kernelVersion] = await namesIn(`${toplevel}/kernel-modules/lib/modules`, trees)
  const version = (await text('nixos-version')) ?? ''
  const initrd = await target('initrd')
  const initrdSecrets = await target('append-initrd-secrets')
  return {
    system: required(await text('system'), 'system'),
    label: `NixOS ${version}${kernelVersion === undefined ? '' : ` (Linux ${kernelVersion})`}`.trim(),
    kernel: required(await target('kernel'), 'kernel'),
    kernelParams: parameters === '' ? [] : parameters.split(' '),
    init: `${toplevel}/init`,
    toplevel,
    ...(initrd !== undefined && { initrd }),
    ...(initrdSecrets !== undefined && { initrdSecrets }),
  }
}

/** Of a folder, sorted; none where there is no such folder. */
async function namesIn(path: string, trees: StoreTrees): Promise<string[]> {
  const folder = await directoryInStore(path, { trees })
  return folder === undefined ? [] : sortedEntries(folder.node).map(({ name }) => Buffer.from(name).toString())
}
