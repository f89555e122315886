/**
 * boot.json, from which all boot menus can be made: bootspec version 1 (NixOS RFC 125) as nixpkgs generates
 * it for every system.
 */

import { quote } from '../bytes/text.ts'
import { badInput, ImageError } from '../errors.ts'
import { isObject, type JsonObject, parseJson } from '../json/parse.ts'
import { parseStorePath, STORE_DIRECTORY, storePath } from '../nix/store/store-path.ts'

export interface Bootspec {
  /** Nix's name of the platform, such as `x86_64-linux`. */
  readonly system: string
  /** For people: distribution, version, kernel. */
  readonly label: string
  /** Path in the store, as are `initrd`, `initrdSecrets` and `init`. */
  readonly kernel: string
  readonly kernelParams: readonly string[]
  /** The program to start as process 1: the kernel parameter `init=`. */
  readonly init: string
  readonly initrd?: string
  /** A program that appends secrets to the initrd. */
  readonly initrdSecrets?: string
  /** The store path of the system. */
  readonly toplevel: string
  /** By name, in order of names. */
  readonly specialisations: ReadonlyMap<string, Bootspec>
  /** All other root keys, unchecked: `org.nixos.systemd-boot` and the like. */
  readonly extensions: Readonly<Record<string, unknown>>
}

export const SPEC_KEY = 'org.nixos.bootspec.v1'
export const SPECIALISATION_KEY = 'org.nixos.specialisation.v1'

/** nixpkgs makes one level of specialisations; a document that nests deeper than this is not one of its own. */
const NESTING_LIMIT = 16

/** Parse boot.json; `where` names it in messages. Throws BAD_INPUT, UNSUPPORTED (another version), LIMIT. */
export function parseBootspec(bytes: Uint8Array, where: string): Bootspec {
  return parseDocument(parseJson(bytes, where), where, 0)
}

function parseDocument(value: unknown, where: string, nesting: number): Bootspec {
  if (!isObject(value)) throw badInput(where, 'boot.json is no JSON object')
  if (nesting > NESTING_LIMIT)
    throw new ImageError('LIMIT', `${where}: specialisations nest more than ${NESTING_LIMIT} levels deep`, { path: where })
  const { [SPEC_KEY]: spec, [SPECIALISATION_KEY]: children, ...extensions } = value
  if (!isObject(spec)) {
    const other = Object.keys(value).find((key) => key.startsWith('org.nixos.bootspec.'))
    if (other !== undefined)
      throw new ImageError('UNSUPPORTED', `${where}: has ${quote(other)}; only ${SPEC_KEY} is supported`, { path: where })
    throw badInput(where, `the object "${SPEC_KEY}" is missing`)
  }
  const initrd = optionalStoreFile(spec, 'initrd', where)
  const initrdSecrets = optionalStoreFile(spec, 'initrdSecrets', where)
  return {
    system: textOf(spec, 'system', where),
    label: textOf(spec, 'label', where),
    kernel: storeFile(spec, 'kernel', where),
    kernelParams: parametersOf(spec, where),
    init: storeFile(spec, 'init', where),
    ...(initrd === undefined ? {} : { initrd }),
    ...(initrdSecrets === undefined ? {} : { initrdSecrets }),
    toplevel: storePath(parseStorePath(textOf(spec, 'toplevel', where), `${where}: toplevel`)),
    specialisations: parseSpecialisations(children, where, nesting),
    extensions,
  }
}

function parseSpecialisations(children: unknown, where: string, nesting: number): ReadonlyMap<string, Bootspec> {
  if (children === undefined) return new Map()
  if (!isObject(children)) throw badInput(where, `"${SPECIALISATION_KEY}" is no object`)
  const byName = Object.entries(children).sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
  return new Map(
    byName.map(([name, child]) => {
      if (name === '' || name.includes('/')) throw badInput(where, `${quote(name)} cannot be the name of a specialisation`)
      checkLine(name, 'the name of a specialisation', where)
      return [name, parseDocument(child, `${where}: specialisation ${name}`, nesting + 1)]
    }),
  )
}

function textOf(spec: JsonObject, key: string, where: string): string {
  const value = spec[key]
  if (typeof value !== 'string' || value === '') throw badInput(where, `"${key}" is missing, empty or no text`)
  return checkLine(value, `"${key}"`, where)
}

function parametersOf(spec: JsonObject, where: string): string[] {
  const value = spec.kernelParams
  if (!Array.isArray(value)) throw badInput(where, '"kernelParams" is missing or no array')
  return value.map((parameter: unknown, index) => {
    if (typeof parameter !== 'string') throw badInput(where, `"kernelParams"[${index}] is no text`)
    return checkLine(parameter, `"kernelParams"[${index}]`, where)
  })
}

/** A file in the store: below a store path, or a store path that is itself a file. */
function storeFile(spec: JsonObject, key: string, where: string): string {
  const value = textOf(spec, key, where)
  const [, , , baseName = '', ...parts] = value.split('/')
  if (!value.startsWith(`${STORE_DIRECTORY}/`)) throw badInput(where, `"${key}" is ${quote(value)}, not a path below ${STORE_DIRECTORY}`)
  parseStorePath(storePath(baseName), `${where}: ${key}`)
  if (parts.some((part) => part === '' || part === '.' || part === '..'))
    throw badInput(where, `"${key}" is ${quote(value)}, which is not a plain path`)
  return value
}

function optionalStoreFile(spec: JsonObject, key: string, where: string): string | undefined {
  return spec[key] === undefined || spec[key] === null ? undefined : storeFile(spec, key, where)
}

/** Menu files and command lines are lines: what goes into them has no control characters. */
function checkLine(text: string, what: string, where: string): string {
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index)
    if (code < 0x20 || code === 0x7f) throw badInput(where, `${what} is ${quote(text)}: control characters cannot stand in a boot menu`)
  }
  return text
}

/** That of the specialisation, or of the system itself without a name. Throws NOT_FOUND. */
export function specialisationOf(bootspec: Bootspec, name: string | undefined): Bootspec {
  if (name === undefined) return bootspec
  const found = bootspec.specialisations.get(name)
  if (found !== undefined) return found
  const names = [...bootspec.specialisations.keys()].join(', ') || 'none'
  throw new ImageError('NOT_FOUND', `${bootspec.toplevel}/boot.json: there is no specialisation '${name}'; there are: ${names}`, {
    path: bootspec.toplevel,
  })
}
