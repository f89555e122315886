/** Reading and checking all that a spec names. */
import { utf8 } from '../../bytes/text.ts'
import { badInput, ImageError } from '../../errors.ts'
import { isObject, type JsonObject, parseJson } from '../../json/parse.ts'
import { sortedJson } from '../../json/sorted.ts'
import { reachable } from '../../nix/listing/reachable.ts'
import { formatRegistration } from '../../nix/listing/registration.ts'
import { compareNames } from '../../nix/store/store-path.ts'
import type { DirectoryNode, FileNode, TreeNode } from '../../tree/tree.ts'
import { Folder, fileNode, textNode } from './nodes.ts'
import { preSwitchScript } from './scripts.ts'
import { fileBytes, requireFile, requireListed, requirePlace, type SpecPlace, storeFileNode, textBytes } from './sources.ts'
import type { SpecFile, SpecialisationSpec } from './spec.ts'
import type { ExtraFile, ToplevelParts } from './tree.ts'

/** Adds a store path without references to itself; resolves to its full path. */
export type AddPath = (name: string, node: TreeNode) => Promise<string>

type Specialisations = ToplevelParts['specialisations']

/**
 * Read what `spec` names and make the store paths that NixOS has beside the toplevel. Throws NOT_FOUND, BAD_INPUT (also where
 * fields do not go together), LIMIT, UNREADABLE.
 */
export async function loadParts(
  spec: SpecialisationSpec,
  where: string,
  specialisations: Specialisations,
  place: SpecPlace,
  add: AddPath,
): Promise<ToplevelParts> {
  checkTogether(spec, where)
  await checkPlaces(spec, where, place)
  const isSystemd = stage1Of(spec) === 'systemd'
  const systemd = `${spec.systemd}/lib/systemd/systemd`
  return {
    spec,
    where,
    specialisations,
    systemd: isSystemd
      ? requireExecutable(await storeFileNode(systemd, `${where}.systemd`, place), systemd, `${where}.systemd`)
      : undefined,
    stage2: spec.stage2 === undefined ? undefined : await textBytes(spec.stage2, `${where}.stage2`, place),
    activation: await loadActivation(spec, where, place),
    preSwitchCheck: await preSwitchCheck(spec, add),
    switchInhibitors: await inhibitors(spec, where, add),
    configuration: await copiedConfiguration(spec, where, place, add),
    buildClosure: await buildClosure(spec, where, place, add),
    files: await extraFiles(spec.files, `${where}.files`, place),
  }
}

/** boot.json of a specialisation that is there already; undefined where it has none. Throws NOT_FOUND, BAD_INPUT. */
export async function readyDocument(path: string, where: string, place: SpecPlace): Promise<JsonObject | undefined> {
  requireListed(path, where, place)
  let bytes: Uint8Array
  try {
    bytes = await fileBytes(`${path}/boot.json`, where, place)
  } catch (error) {
    if (error instanceof ImageError && error.code === 'NOT_FOUND') return undefined
    throw error
  }
  const document = parseJson(bytes, `${path}/boot.json`)
  if (!isObject(document)) throw badInput(`${path}/boot.json`, 'is no JSON object')
  return document
}

function stage1Of({ stage1, initrd }: SpecialisationSpec): 'systemd' | 'scripted' {
  return stage1 ?? (initrd === undefined ? 'scripted' : 'systemd')
}

function checkTogether(spec: SpecialisationSpec, where: string): void {
  const needs = (isTrue: boolean, what: string): void => {
    if (!isTrue) throw badInput(where, what)
  }
  const isSystemd = stage1Of(spec) === 'systemd'
  if (spec.kernel === undefined) {
    const bootable = ['initrd', 'initrdSecrets', 'kernelModules', 'deviceTrees', 'firmware'] as const
    const given = bootable.find((field) => spec[field] !== undefined) ?? (spec.kernelParams.length > 0 ? 'kernelParams' : undefined)
    needs(given === undefined, `'${given}' is given, but no 'kernel'; a system without one is a container`)
  }
  needs(!isSystemd || spec.initrd !== undefined, "stage1 is systemd, but there is no 'initrd' in which it could run")
  needs(spec.initrdSecrets === undefined || spec.initrd !== undefined, "'initrdSecrets' is given, but no 'initrd'")
  needs(!spec.nixosInit || isSystemd, "'nixosInit' needs stage1 systemd")
  if (spec.nixosInit) needs(spec.stage2 === undefined, "with 'nixosInit' there is no prepare-root; leave out 'stage2'")
  else needs(spec.stage2 !== undefined, `'stage2' is needed: it becomes ${isSystemd ? 'prepare-root' : 'init'}`)
  const isActivatable = spec.activationScript !== undefined
  needs(isActivatable === (spec.dryActivationScript !== undefined), "'activationScript' and 'dryActivationScript' belong together")
  const { switchToConfiguration: switching, preSwitchChecks } = spec
  if (switching === undefined) {
    needs(spec.switchInhibitors === undefined, "'switchInhibitors' needs 'switchToConfiguration'")
    needs(preSwitchChecks === undefined, "'preSwitchChecks' needs 'switchToConfiguration', which runs them")
    return
  }
  needs(isActivatable, "'switchToConfiguration' needs 'activationScript'")
  needs(spec.shell !== undefined, "'switchToConfiguration' needs 'shell', in which its wrapper runs")
  const checkCount = [preSwitchChecks, switching.preSwitchCheck].filter((check) => check !== undefined).length
  needs(checkCount === 1, "'switchToConfiguration' needs either 'preSwitchChecks' ({} for none) or its own 'preSwitchCheck'")
}

/** Everything in the store that the spec names is there, and files are files. */
async function checkPlaces(spec: SpecialisationSpec, where: string, place: SpecPlace): Promise<void> {
  const files: [field: string, path: string | undefined][] = [
    ['kernel', spec.kernel],
    ['initrd', spec.initrd],
    ['loader.deviceTree', spec.loader?.deviceTree],
    ['switchToConfiguration.localeArchive', spec.switchToConfiguration?.localeArchive],
  ]
  const programs: typeof files = [
    ['initrdSecrets', spec.initrdSecrets],
    ['shell', spec.shell],
    ['switchToConfiguration.program', spec.switchToConfiguration?.program],
    ['switchToConfiguration.preSwitchCheck', spec.switchToConfiguration?.preSwitchCheck],
  ]
  const places: typeof files = [
    ...(['etc', 'sw', 'systemd', 'kernelModules', 'deviceTrees', 'firmware'] as const).map((field): [string, string | undefined] => [
      field,
      spec[field],
    ]),
    ['etcOverlay.metadataImage', spec.etcOverlay?.metadataImage],
    ['etcOverlay.basedir', spec.etcOverlay?.basedir],
    ['switchInhibitors', textOf(spec.switchInhibitors)],
    ['configuration', textOf(spec.configuration)],
    ['buildClosure', textOf(spec.buildClosure)],
    ...spec.extraDependencies.map((path, index): [string, string] => [`extraDependencies[${index}]`, path]),
  ]
  for (const [field, path] of files) if (path !== undefined) await requireFile(path, `${where}.${field}`, place)
  for (const [field, path] of programs) {
    if (path !== undefined) requireExecutable(await requireFile(path, `${where}.${field}`, place), path, `${where}.${field}`)
  }
  for (const [field, path] of places) if (path !== undefined) await requirePlace(path, `${where}.${field}`, place)
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined
}

function requireExecutable(node: FileNode, path: string, where: string): FileNode {
  if ((node.mode & 0o100) === 0) throw badInput(where, `${path} is no program: it may not be executed`)
  return node
}

async function loadActivation(spec: SpecialisationSpec, where: string, place: SpecPlace): Promise<ToplevelParts['activation']> {
  const { activationScript, dryActivationScript } = spec
  if (activationScript === undefined || dryActivationScript === undefined) return undefined
  return {
    script: await textBytes(activationScript, `${where}.activationScript`, place),
    dryScript: await textBytes(dryActivationScript, `${where}.dryActivationScript`, place),
  }
}

async function preSwitchCheck(spec: SpecialisationSpec, add: AddPath): Promise<string | undefined> {
  const { preSwitchChecks, shell, switchToConfiguration } = spec
  if (preSwitchChecks === undefined || shell === undefined) return switchToConfiguration?.preSwitchCheck
  const folder = new Folder()
  const checks = new Map([...preSwitchChecks].sort(([a], [b]) => compareNames(a, b)))
  folder.add('bin/pre-switch-checks', textNode(preSwitchScript(shell, checks), true), 'preSwitchChecks')
  return `${await add('pre-switch-checks', folder.node())}/bin/pre-switch-checks`
}

async function inhibitors({ switchInhibitors }: SpecialisationSpec, where: string, add: AddPath): Promise<string | undefined> {
  if (switchInhibitors === undefined || typeof switchInhibitors === 'string') return switchInhibitors
  return add('switch-inhibitors', textNode(sortedJson(Object.fromEntries(switchInhibitors), `${where}.switchInhibitors`)))
}

async function copiedConfiguration(
  { configuration }: SpecialisationSpec,
  where: string,
  place: SpecPlace,
  add: AddPath,
): Promise<string | undefined> {
  if (configuration === undefined || typeof configuration === 'string') return configuration
  return add(configuration.name, fileNode(await textBytes(configuration.content, `${where}.configuration.content`, place)))
}

/** The three files of `pkgs.closureInfo`. */
async function buildClosure(
  { buildClosure }: SpecialisationSpec,
  where: string,
  place: SpecPlace,
  add: AddPath,
): Promise<string | undefined> {
  if (buildClosure === undefined || typeof buildClosure === 'string') return buildClosure
  for (const [index, root] of buildClosure.roots.entries()) requireListed(root, `${where}.buildClosure.roots[${index}]`, place)
  const { closure } = place.trees
  const found = reachable(closure.paths, buildClosure.roots)
  const paths = closure.paths.filter(({ path }) => found.has(path))
  const narBytes = paths.reduce((sum, { narSize = 0 }) => sum + narSize, 0)
  const folder = new Folder()
  folder.add('total-nar-size', textNode(`${narBytes}\n`), where)
  folder.add('store-paths', textNode(paths.map(({ path }) => `${path}\n`).join('')), where)
  const registration = paths.length === 0 ? utf8('') : formatRegistration({ ...closure, paths })
  folder.add('registration', fileNode(registration), where)
  const node: DirectoryNode = folder.node()
  return add('closure-info', node)
}

async function extraFiles(files: ReadonlyMap<string, SpecFile>, where: string, place: SpecPlace): Promise<ReadonlyMap<string, ExtraFile>> {
  const read = new Map<string, ExtraFile>()
  for (const [path, file] of files) {
    if ('link' in file) {
      read.set(path, { kind: 'link', target: file.link })
      continue
    }
    const { executable } = file
    if ('text' in file) read.set(path, { kind: 'file', bytes: utf8(file.text), executable, substitute: true })
    else
      read.set(path, {
        kind: 'file',
        bytes: await fileBytes(file.file, `${where}.${path}`, place),
        executable,
        substitute: file.substitute,
      })
  }
  return read
}
