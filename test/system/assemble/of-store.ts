/** The spec of a toplevel that is there already: what is a field becomes one, all else becomes `files`. */
import { isAscii } from 'node:buffer'
import { lstatSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Json } from './parts-support.ts'

/** Made from fields; the rest has to be given as it is. */
const OF_FIELDS = [
  'init',
  'etc',
  'sw',
  'systemd',
  'init-interface-version',
  'nixos-version',
  'system',
  'kernel',
  'kernel-modules',
  'kernel-params',
  'initrd',
  'firmware',
  'boot.json',
  'specialisation',
  'extra-dependencies',
]

interface BootJson {
  readonly 'org.nixos.bootspec.v1': { readonly kernelParams: readonly string[]; readonly label: string }
}

/** Texts that are not UTF-8 are written to files in `folder`, with names that begin with that of the toplevel. */
export function specOfToplevel(root: string, toplevel: string, folder: string): Json {
  const at = (name: string): string => `${root}${toplevel}/${name}`
  const text = (name: string): string => readFileSync(at(name), 'utf8')
  const link = (name: string): string | undefined =>
    lstatSync(at(name), { throwIfNoEntry: false }) === undefined ? undefined : readlinkSync(at(name))
  const { kernelParams, label } = (JSON.parse(text('boot.json')) as BootJson)['org.nixos.bootspec.v1']
  const files: Record<string, Json> = {}
  const addFiles = (folder: string): void => {
    for (const name of readdirSync(at(folder))) {
      const path = folder === '' ? name : `${folder}/${name}`
      if (OF_FIELDS.includes(path)) continue
      if (lstatSync(at(path)).isDirectory()) addFiles(path)
      else files[path] = { ...fileOf(path), executable: (lstatSync(at(path)).mode & 0o100) !== 0 }
    }
  }
  const fileOf = (path: string): Json => {
    const template = readFileSync(at(path), 'latin1').replaceAll(toplevel, '@out@')
    if (isAscii(readFileSync(at(path)))) return { text: template }
    const file = join(folder, `${toplevel.slice('/nix/store/'.length)}-${path.replaceAll('/', '-')}`)
    writeFileSync(file, template, 'latin1')
    return { file, substitute: true }
  }
  addFiles('')
  const specialisations = readdirSync(at('specialisation')).map((name) => [name, link(`specialisation/${name}`)])
  return {
    name: 'machine',
    storeName: toplevel.slice('/nix/store/'.length + 33),
    nixosLabel: text('nixos-version'),
    system: text('system'),
    label,
    kernelParams,
    kernel: link('kernel'),
    kernelModules: link('kernel-modules'),
    initrd: link('initrd'),
    firmware: link('firmware'),
    stage1: 'scripted',
    stage2: text('init').replaceAll(toplevel, '@systemConfig@'),
    systemd: link('systemd'),
    etc: link('etc'),
    sw: link('sw'),
    files,
    specialisations: Object.fromEntries(specialisations),
  }
}
