/** The directory of a toplevel, file by file as nixpkgs builds it. Pure: all that it is made of has been read. */
import { utf8 } from '../../bytes/text.ts'
import { badInput } from '../../errors.ts'
import type { JsonObject } from '../../json/parse.ts'
import type { DirectoryNode, FileNode, SymlinkNode } from '../../tree/tree.ts'
import { type BootDocument, bootDocument, formatBootJson } from '../boot-json.ts'
import { Folder, fileNode, linkNode, textNode } from './nodes.ts'
import { wrapperScript } from './scripts.ts'
import type { SpecialisationSpec } from './spec.ts'

/** A further entry: a link, or a file; `@out@` stands for the toplevel where that is substituted. */
export type ExtraFile =
  | { readonly kind: 'link'; readonly target: string }
  | { readonly kind: 'file'; readonly bytes: Uint8Array; readonly executable: boolean; readonly substitute: boolean }

/** All that a toplevel is made of. */
export interface ToplevelParts {
  readonly spec: SpecialisationSpec
  /** The place of the spec, for messages. */
  readonly where: string
  /** The program that is copied to `init`; undefined where `init` is the stage 2 script. */
  readonly systemd: FileNode | undefined
  readonly stage2: Uint8Array | undefined
  readonly activation: { readonly script: Uint8Array; readonly dryScript: Uint8Array } | undefined
  readonly preSwitchCheck: string | undefined
  /** Full paths of the store, as are the next two. */
  readonly switchInhibitors: string | undefined
  readonly configuration: string | undefined
  readonly buildClosure: string | undefined
  /** Store path and boot.json of each, by name. */
  readonly specialisations: ReadonlyMap<string, { readonly path: string; readonly document: JsonObject | undefined }>
  readonly files: ReadonlyMap<string, ExtraFile>
}

/** The file that lists `extraDependencies`; what it alone refers to is no dependency in the sense of the checks. */
export const EXTRA_DEPENDENCIES = 'extra-dependencies'

const SYSTEMD_BOOT = 'org.nixos.systemd-boot'

/** The tree of a toplevel at the store path `own`. Throws BAD_INPUT, UNSUPPORTED, LIMIT. */
export function toplevelTree(parts: ToplevelParts, own: string): DirectoryNode {
  const { spec, where } = parts
  const top = new Folder()
  const link = (path: string, target: string | undefined): void => {
    if (target !== undefined) top.add(path, linkNode(target), where)
  }
  const text = (path: string, content: string): void => top.add(path, textNode(content), where)

  if (parts.systemd !== undefined) top.add('init', parts.systemd, where)
  const script = parts.systemd === undefined ? 'init' : 'prepare-root'
  if (parts.stage2 !== undefined) top.add(script, fileNode(substituted(parts.stage2, 'systemConfig', own), true), where)

  link('etc', spec.etc)
  link('etc-metadata-image', spec.etcOverlay?.metadataImage)
  link('etc-basedir', spec.etcOverlay?.basedir)
  link('sw', spec.sw)
  link('systemd', spec.systemd)
  text('init-interface-version', `systemd ${spec.systemdInterfaceVersion}`)
  text('nixos-version', spec.nixosLabel)
  text('system', spec.system)
  if (spec.configurationName !== undefined) text('configuration-name', spec.configurationName)
  link('configuration.nix', parts.configuration)
  link('build-closure', parts.buildClosure)

  if (spec.kernel !== undefined) {
    link('kernel', spec.kernel)
    link('kernel-modules', spec.kernelModules)
    link('dtbs', spec.deviceTrees)
    text('kernel-params', spec.kernelParams.join(' '))
    link('initrd', spec.initrd)
    link('append-initrd-secrets', spec.initrdSecrets)
    link('firmware', spec.firmware)
    top.add('boot.json', fileNode(formatBootJson(toplevelDocument(parts, own), `${where}: boot.json`)), where)
  }

  addActivation(top, parts, own)
  top.folder('specialisation', where)
  for (const [name, { path }] of parts.specialisations) link(`specialisation/${name}`, path)
  // Each with a blank behind it; with none at all printf still prints the blank.
  text(EXTRA_DEPENDENCIES, spec.extraDependencies.length === 0 ? ' ' : spec.extraDependencies.map((path) => `${path} `).join(''))
  for (const [path, file] of parts.files) top.add(path, extraNode(file, own), `${where}.files`)
  return top.node()
}

/** What boot.json says, without its layout. */
export function toplevelDocument({ spec, where, specialisations }: ToplevelParts, own: string): JsonObject {
  const { system, kernel = '', kernelParams, initrd, initrdSecrets } = spec
  const documents = [...specialisations].map(([name, { document }]): [string, JsonObject] => {
    if (document === undefined) throw badInput(`${where}.specialisations.${name}`, 'has no kernel, so it cannot be booted')
    return [name, document]
  })
  const content: BootDocument = {
    fields: {
      system,
      label: bootLabel(spec, where),
      kernel,
      kernelParams,
      init: `${own}/init`,
      toplevel: own,
      ...(initrd !== undefined && { initrd }),
      ...(initrdSecrets !== undefined && { initrdSecrets }),
    },
    specialisations: new Map(documents),
    extensions: { ...Object.fromEntries(spec.extensions), ...loaderExtension(spec, where) },
  }
  return bootDocument(content, where)
}

function bootLabel({ label, distroName, codeName, nixosLabel, kernelVersion }: SpecialisationSpec, where: string): string {
  if (label !== undefined) return label
  if (codeName === undefined || kernelVersion === undefined)
    throw badInput(where, "needs 'label', or 'codeName' and 'kernelVersion' to make one")
  return `${distroName} ${codeName} ${nixosLabel} (Linux ${kernelVersion})`
}

/** What `nixos/modules/system/boot/loader/systemd-boot/systemd-boot.nix` adds; other loaders add nothing. */
function loaderExtension({ loader, extensions }: SpecialisationSpec, where: string): JsonObject {
  if (loader === undefined) return {}
  const { id, sortKey, deviceTree } = loader
  if (id !== 'systemd-boot') {
    if (sortKey !== undefined || deviceTree !== undefined)
      throw badInput(`${where}.loader`, `sortKey and deviceTree are of systemd-boot; '${id}' has neither`)
    return {}
  }
  if (extensions.has(SYSTEMD_BOOT)) throw badInput(where, `loader and extensions both say what ${SYSTEMD_BOOT} is; leave one out`)
  return { [SYSTEMD_BOOT]: { sortKey: sortKey ?? 'nixos', ...(deviceTree !== undefined && { devicetree: deviceTree }) } }
}

function addActivation(top: Folder, { spec, where, activation, ...parts }: ToplevelParts, own: string): void {
  if (activation === undefined) return
  // `echo` ends them.
  const script = (bytes: Uint8Array): FileNode => fileNode(substituted(Buffer.concat([bytes, utf8('\n')]), 'out', own), true)
  top.add('activate', script(activation.script), where)
  top.add('dry-activate', script(activation.dryScript), where)
  if (parts.switchInhibitors !== undefined) top.add('switch-inhibitors', linkNode(parts.switchInhibitors), where)
  if (spec.switchToConfiguration === undefined || spec.shell === undefined) return
  const { program, distroId, installBootLoader, localeArchive } = spec.switchToConfiguration
  const wrapper = wrapperScript(
    spec.shell,
    [
      ['OUT', own],
      ['TOPLEVEL', own],
      ['DISTRO_ID', distroId],
      ['INSTALL_BOOTLOADER', installBootLoader],
      ['PRE_SWITCH_CHECK', parts.preSwitchCheck ?? ''],
      ...(localeArchive === undefined ? [] : [['LOCALE_ARCHIVE', localeArchive] as const]),
      ['SYSTEMD', spec.systemd],
    ],
    `${own}/bin/.switch-to-configuration-wrapped`,
  )
  top.add('bin/.switch-to-configuration-wrapped', linkNode(program), where)
  top.add('bin/switch-to-configuration', textNode(wrapper, true), where)
}

function extraNode(file: ExtraFile, own: string): FileNode | SymlinkNode {
  if (file.kind === 'link') return linkNode(file.target.replaceAll('@out@', own))
  return fileNode(file.substitute ? substituted(file.bytes, 'out', own) : file.bytes, file.executable)
}

/** What `substituteInPlace --subst-var-by` does. */
function substituted(bytes: Uint8Array, variable: string, value: string): Uint8Array {
  return Buffer.from(Buffer.from(bytes).toString('latin1').replaceAll(`@${variable}@`, value), 'latin1')
}
