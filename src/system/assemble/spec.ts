/**
 * The spec of a toplevel: what the options of NixOS say that end up in `config.system.build.toplevel`
 * (`nixos/modules/system/activation/{top-level,activatable-system,switchable-system,bootspec,specialisation}.nix`,
 * `nixos/modules/system/boot/kernel.nix`).
 */

import { quote } from '../../bytes/text.ts'
import { badInput } from '../../errors.ts'
import { type JsonObject, parseJson } from '../../json/parse.ts'
import {
  anyObject,
  choice,
  defaulted,
  flag,
  list,
  map,
  object,
  optional,
  type Read,
  required,
  type Shape,
  text,
  textOr,
  wholeNumber,
} from '../../json/shape.ts'
import { baseNameFault, HASH_PART_LENGTH, STORE_DIRECTORY } from '../../nix/store/store-path.ts'
import { isOfficialKey } from '../boot-json.ts'

/** Text that stands in the spec, or that a file holds: one of the store, or one of the host. */
export type TextSource = string | { readonly file: string }

/** A further entry of the toplevel. */
export type SpecFile =
  | { readonly link: string }
  | { readonly text: string; readonly executable: boolean }
  | { readonly file: string; readonly executable: boolean; readonly substitute: boolean }

const STORE_PLACE_PATTERN = '^/nix/store/[0-9a-z]{32}-[^/]+(/[^/]+)*$'

/** A store path, or a file or folder in one. */
const place = text('a path in the store', placeFault, { pattern: STORE_PLACE_PATTERN })
/** A whole store path. */
const path = text(
  'a store path',
  (value) => placeFault(value) ?? (value.split('/').length > 4 ? 'it leads into a store path' : undefined),
  {
    pattern: '^/nix/store/[0-9a-z]{32}-[^/]+$',
  },
)
/** One line of a file, without control characters. */
const line = text('a line of text', lineFault)
const word = text('one word', (value) => (value === '' ? 'it is empty' : /\s/.test(value) ? 'it has blanks' : lineFault(value)))
const name = text('part of a store path name', nameFault)
const file = object('a file', {
  file: required(text('a path', pathFault), 'Path in the store, or on this machine, from the folder of the spec'),
})
const source: Shape<TextSource> = textOr(text(), file)

const etcOverlay = object('an etc overlay', {
  metadataImage: required(place, 'The image of /etc without contents: system.build.etcMetadataImage'),
  basedir: required(place, 'The contents: system.build.etcBasedir'),
})

const switchToConfiguration = object('switchToConfiguration', {
  program: required(place, 'The program that is wrapped: bin/switch-to-configuration of pkgs.switch-to-configuration-ng'),
  installBootLoader: required(text('a path', pathFault), 'system.build.installBootLoader'),
  distroId: defaulted(word, 'nixos', 'system.nixos.distroId'),
  preSwitchCheck: optional(place, 'A script that is there already: system.preSwitchChecksScript. Or give preSwitchChecks'),
  localeArchive: optional(place, 'The glibcLocales in use: their lib/locale/locale-archive'),
})

const loader = object('a loader', {
  id: required(word, 'system.boot.loader.id: systemd-boot, grub, ...'),
  sortKey: optional(line, 'boot.loader.systemd-boot.sortKey, by default nixos'),
  deviceTree: optional(place, 'The device tree that systemd-boot loads'),
})

const assertion = object('an assertion', {
  assertion: required(flag(), 'Does it hold?'),
  message: required(text(), 'Shown when it does not'),
})

const buildClosure = object('a build closure', {
  roots: required(list(path), 'Store paths whose closures are listed, such as the derivation of the system'),
})

const configuration = textOr(
  place,
  object('a configuration', {
    name: defaulted(name, 'configuration.nix', 'Name of the store path'),
    content: required(source, 'The text, or a file that holds it'),
  }),
)

/** What a specialisation may have as well; they do not nest. */
const FIELDS = {
  name: required(name, 'system.name, the name of the machine; the store path is named nixos-system-<name>-<nixosLabel>'),
  nixosLabel: required(name, 'system.nixos.label, also in nixos-version'),
  storeName: optional(name, 'Another name for the store path'),
  system: required(word, 'Platform of the kernel, such as x86_64-linux'),
  label: optional(line, 'Label of the boot entry; by default made of distroName, codeName, nixosLabel and kernelVersion'),
  distroName: defaulted(line, 'NixOS', 'system.nixos.distroName'),
  codeName: optional(line, 'system.nixos.codeName'),
  kernelVersion: optional(line, 'modDirVersion of the kernel'),

  kernel: optional(place, 'The kernel file; without it the system is a container: no boot.json, no initrd'),
  kernelModules: optional(place, 'system.modulesTree'),
  kernelParams: defaulted(list(line), [], 'boot.kernelParams'),
  deviceTrees: optional(place, 'hardware.deviceTree.package, which becomes dtbs'),
  firmware: optional(place, 'lib/firmware of hardware.firmware'),
  initrd: optional(place, 'The initrd file'),
  initrdSecrets: optional(place, 'The program that appends secrets to the initrd: bin/append-initrd-secrets'),
  stage1: optional(choice('systemd', 'scripted'), 'What the initrd runs; by default systemd where there is an initrd'),
  stage2: optional(source, 'system.build.bootStage2, in which @systemConfig@ stands for the toplevel; needed but with nixosInit'),
  nixosInit: defaulted(flag(), false, 'system.nixos-init.enable: no prepare-root'),
  systemd: required(path, 'systemd.package'),
  systemdInterfaceVersion: defaulted(wholeNumber(0, 2 ** 31), 2, 'systemd.package.interfaceVersion'),
  etc: required(place, 'etc of system.build.etc'),
  etcOverlay: optional(etcOverlay, 'etc-metadata-image and etc-basedir, which NixOS has up to 25.11 with system.etc.overlay.enable'),
  sw: required(place, 'system.path'),

  activationScript: optional(source, 'system.activationScripts.script, in which @out@ stands for the toplevel'),
  dryActivationScript: optional(source, 'system.dryActivationScript'),
  switchToConfiguration: optional(switchToConfiguration, 'Where the system can be switched to: system.switch.enable'),
  switchInhibitors: optional(textOr(place, map(text(), checkAnyName)), 'system.switch.inhibitors, or the file with them'),
  preSwitchChecks: optional(map(text(), checkCheckName), 'system.preSwitchChecks: shell scripts by name'),
  shell: optional(place, 'runtimeShell, bin/bash; needed with switchToConfiguration'),
  loader: optional(loader, 'The boot loader'),
  configurationName: optional(text(), 'boot.loader.grub.configurationName, which only GRUB has; may be empty'),
  extensions: defaulted(map(anyObject(), checkExtension), new Map<string, JsonObject>(), 'boot.bootspec.extensions'),

  extraDependencies: defaulted(list(place), [], 'system.extraDependencies'),
  configuration: optional(configuration, 'system.copySystemConfiguration: what configuration.nix leads to'),
  buildClosure: optional(textOr(place, buildClosure), 'system.includeBuildDependencies: a closureInfo folder, or what is listed in one'),
  files: defaulted(map(specFile(), checkRelative), new Map(), 'Further entries by path, as system.systemBuilderCommands makes them'),

  assertions: defaulted(list(assertion), [], 'assertions: those that do not hold end the work, all at once'),
  warnings: defaulted(list(text()), [], 'warnings, which are shown'),
  forbiddenDependenciesRegexes: defaulted(list(text()), [], 'system.forbiddenDependenciesRegexes: POSIX extended regular expressions'),
} as const

export type SpecialisationSpec = Read<typeof FIELDS>

export interface ToplevelSpec extends SpecialisationSpec {
  /** By name: a store path that is there already, or the spec of one. */
  readonly specialisations: ReadonlyMap<string, string | SpecialisationSpec>
}

const specialisation = object('a specialisation', FIELDS)
const SPECIALISATION_REFERENCE = { $ref: '#/$defs/specialisation' }
const toplevel: Shape<ToplevelSpec> = object('a toplevel', {
  $schema: optional(text(), 'Names this schema, for editors'),
  ...FIELDS,
  specialisations: defaulted(
    map(textOr(path, { ...specialisation, schema: SPECIALISATION_REFERENCE }), checkSpecialisationName),
    new Map(),
    'By name: toplevels that are in the store, or specs of further ones',
  ),
})

/** Parse the spec; `where` names it in messages. Throws BAD_INPUT. */
export function parseToplevelSpec(bytes: Uint8Array, where: string): ToplevelSpec {
  return toplevel.read(parseJson(bytes, where), where)
}

export const TOPLEVEL_SCHEMA_ID = 'https://unpkg.com/kilnix/docs/toplevel.schema.json'

/** The JSON Schema (2020-12) of specs. Fields that do not go together, it does not know. */
export function toplevelSchema(): JsonObject {
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    $id: TOPLEVEL_SCHEMA_ID,
    title: 'Kilnix toplevel spec',
    description: 'What kilnix toplevel makes a system directory of. Paths on this machine count from the folder of the file.',
    ...toplevel.schema,
    $defs: { specialisation: specialisation.schema },
  }
}

function specFile(): Shape<SpecFile> {
  const executable = defaulted(flag(), false, 'May it be run?')
  const link = object('a link', { link: required(text('a link target', pathFault), 'Where it leads; @out@ stands for the toplevel') })
  const inline = object('a file', { text: required(text(), 'Content, in which @out@ stands for the toplevel'), executable })
  const copied = object('a file', {
    file: required(text('a path', pathFault), 'What is copied: a path in the store, or on this machine, from the folder of the spec'),
    executable,
    substitute: defaulted(flag(), false, 'Does @out@ in it stand for the toplevel?'),
  })
  return {
    schema: { anyOf: [link.schema, inline.schema, copied.schema] },
    read: (value, where) => {
      const keys = typeof value === 'object' && value !== null ? Object.keys(value) : []
      if (keys.includes('link')) return link.read(value, where)
      return keys.includes('text') ? inline.read(value, where) : copied.read(value, where)
    },
  }
}

function placeFault(value: string): string | undefined {
  if (!value.startsWith(`${STORE_DIRECTORY}/`)) return `it is not below ${STORE_DIRECTORY}`
  const [baseName = '', ...parts] = value.slice(STORE_DIRECTORY.length + 1).split('/')
  const plain = parts.every((part) => part !== '' && part !== '.' && part !== '..')
  return baseNameFault(baseName) ?? (plain ? lineFault(value) : 'it has empty parts, . or ..')
}

function nameFault(value: string): string | undefined {
  return baseNameFault(`${'0'.repeat(HASH_PART_LENGTH)}-${value}`)
}

function pathFault(value: string): string | undefined {
  return value === '' ? 'it is empty' : value.includes('\0') ? 'it has a NUL' : undefined
}

function lineFault(value: string): string | undefined {
  for (let index = 0; index < value.length; index++) {
    const code = value.charCodeAt(index)
    if (code < 0x20 || code === 0x7f) return 'it has control characters'
  }
  return undefined
}

function checkAnyName(value: string, where: string): void {
  const fault = value === '' ? 'it is empty' : lineFault(value)
  if (fault !== undefined) throw badInput(where, `${quote(value)} cannot be a name: ${fault}`)
}

/** It stands in a script, between quotes. */
function checkCheckName(value: string, where: string): void {
  if (!/^[\w.+-]+$/.test(value)) throw badInput(where, `${quote(value)} cannot name a check; letters, digits and _ . + - are possible`)
}

function checkSpecialisationName(value: string, where: string): void {
  checkAnyName(value, where)
  if (/^\.\.?$|\//.test(value)) throw badInput(where, `${quote(value)} cannot be the name of a specialisation`)
}

function checkExtension(key: string, where: string): void {
  if (isOfficialKey(key)) throw badInput(where, `${quote(key)} belongs to bootspec itself; an extension takes a name of its own`)
}

function checkRelative(value: string, where: string): void {
  const parts = value.split('/')
  if (value.includes('\0') || parts.some((part) => part === '' || part === '.' || part === '..'))
    throw badInput(where, `${quote(value)} is no path in the toplevel; names between slashes are needed`)
}
