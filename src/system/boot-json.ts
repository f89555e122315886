/** Writing boot.json, byte for byte as nixpkgs does (`nixos/modules/system/activation/bootspec.nix`, `bootspec.cue`). */
import { quote, utf8 } from '../bytes/text.ts'
import { badInput } from '../errors.ts'
import { isObject, type JsonObject } from '../json/parse.ts'
import { sortedJson } from '../json/sorted.ts'
import { type Bootspec, parseBootspec, SPEC_KEY, SPECIALISATION_KEY } from './bootspec.ts'

/** The fields of a bootspec that a document holds; specialisations and extensions stand beside it. */
export type BootspecFields = Omit<Bootspec, 'specialisations' | 'extensions'>

export interface BootDocument {
  readonly fields: BootspecFields
  /** Whole documents of the specialisations, by name. */
  readonly specialisations: ReadonlyMap<string, JsonObject>
  /** Objects by key. */
  readonly extensions: JsonObject
}

/** The keys that no extension may take: bootspec's own, in any version. */
export function isOfficialKey(key: string): boolean {
  return key.startsWith('org.nixos.bootspec.') || key.startsWith('org.nixos.specialisation.')
}

/** The document as JSON. Throws BAD_INPUT for an extension with an official key, or that is no object. */
export function bootDocument({ fields, specialisations, extensions }: BootDocument, where: string): JsonObject {
  for (const [key, value] of Object.entries(extensions)) {
    if (isOfficialKey(key)) throw badInput(where, `${quote(key)} belongs to bootspec itself; an extension takes a name of its own`)
    if (!isObject(value)) throw badInput(where, `the extension ${quote(key)} is no object`)
  }
  return { ...extensions, [SPEC_KEY]: fields, [SPECIALISATION_KEY]: Object.fromEntries(specialisations) }
}

/**
 * The bytes of boot.json, checked as it will be read: `parseBootspec` and the rules of `bootspec.cue`. Throws BAD_INPUT (also for
 * specialisations within specialisations), UNSUPPORTED, LIMIT.
 */
export function formatBootJson(document: JsonObject, where: string): Uint8Array {
  const bytes = utf8(sortedJson(document, where))
  const parsed = parseBootspec(bytes, where)
  for (const [name, child] of parsed.specialisations) {
    if (child.specialisations.size > 0)
      throw badInput(where, `specialisation ${quote(name)} has specialisations of its own; bootspec allows one level`)
  }
  return bytes
}
