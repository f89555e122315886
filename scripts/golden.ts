/**
 * The digests of every kind of image of the small closure, kept in `fixtures/golden.json`: what a change that means to leave
 * bytes alone has left alone.
 *
 *     npm run golden                                says which images are others than those that are kept; status 1 if any is
 *     npm run golden -- --checkout DIR              the same of the Kilnix in another checkout
 *     npm run golden -- --keep "WHY"                keeps the digests of today, and why those that changed did
 *
 * Compressors are Node's own, so that the digests are those of one Node, whose version is kept with them.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { removeStore, type SmallClosure, unpackSmall } from '../fixtures/unpack.ts'
import type { Report, Request } from '../test/faults/every-output.ts'
import { addTwin } from '../test/images/twins.ts'
import { specOfToplevel } from '../test/system/assemble/of-store.ts'

export interface Golden {
  /** Versions of what decides the bytes of compressed images. */
  readonly compressors: Readonly<Record<string, string>>
  readonly digests: Report
  /** What changed on purpose, the newest first. */
  readonly changes: readonly { readonly why: string; readonly images: readonly string[] }[]
}

type Output = Request['outputs'][number]

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const FILE = join(ROOT, 'fixtures/golden.json')

const FORMATS = ['raw', 'qcow2', 'qcow2-compressed', 'vdi', 'vhd', 'vhd-fixed', 'vhdx', 'vmdk', 'vmdk-stream', 'ova', 'raw.tar.gz']
const ZFS_FORMATS = FORMATS.slice(0, 8)
const PRESETS = 'raw-efi qemu-efi amazon azure google hyperv vmware vsphere virtualbox openstack oci proxmox kubevirt'
const COMPRESSIONS = ['zstd:1', 'zstd:19', 'gzip:6', 'lz4', 'xz:1', 'none']

/** What the images are made of. */
interface Inputs {
  readonly closure: SmallClosure
  /** A listing with a path beside the system's closure that takes the place of one in it. */
  readonly listing: string
  readonly pair: string
  readonly spec: string
  readonly note: string
}

async function makeInputs(folder: string): Promise<Inputs> {
  const closure = await unpackSmall(join(folder, 'closure'))
  const { listing, pair } = await addTwin(
    { listing: join(closure.folder, 'path-info.json'), root: closure.root, into: folder },
    'self-reference-1.0',
  )
  const spec = join(folder, 'spec.json')
  writeFileSync(spec, JSON.stringify(specOfToplevel(closure.root, closure.toplevel, folder)))
  const note = join(folder, 'note')
  writeFileSync(note, 'a note\n')
  return { closure, listing, pair, spec, note }
}

/** Every kind of image, each option that decides a kind once; fast codecs where the codec is not the question. */
export function outputs({ closure, listing, pair, spec, note }: Inputs): readonly Output[] {
  const store = ['--root', closure.root, '--quiet', '-o', 'OUT']
  const base = ['--closure', closure.folder, ...store]
  const fast = ['--compression', 'zstd:1', '--block-size', '128K']
  const add = ['--add', `/etc/note=${note}`]
  const disk = (name: string, ...args: readonly string[]): Output => [`disk ${name}`, ['disk', ...base, '--free', '4M', ...args]]
  const efi = (name: string, ...args: readonly string[]): Output => disk(name, '--esp-size', '20M', ...args)
  const zfs = (name: string, ...args: readonly string[]): Output => [
    `zfs ${name}`,
    ['zfs', ...base, '--root-size', 'auto', '--free', '8M', '--boot-size', '64M', ...args],
  ]
  const netboot = (name: string, ...args: readonly string[]): Output => [`netboot ${name}`, ['netboot', ...base, ...fast, ...args]]
  const iso = (name: string, ...args: readonly string[]): Output => [`iso ${name}`, ['iso', ...base, ...args]]
  const initrd = (name: string, ...args: readonly string[]): Output => [`initrd ${name}`, ['initrd', ...base, ...args]]
  return [
    ...COMPRESSIONS.map((codec): Output => [`squashfs ${codec}`, ['squashfs', ...base, '--compression', codec, '--block-size', '128K']]),
    ['squashfs 4K', ['squashfs', ...base, '--compression', 'lz4', '--block-size', '4K']],
    iso('as it is', ...fast),
    iso('no hybrid', ...fast, '--hybrid', 'none'),
    iso('options', ...fast, ...add, '--kernel-param', 'quiet', '--timeout', 'none', '--volume-id', 'GOLDEN', '--mtime', '1000000000'),
    iso('compressed', ...fast, '--compress-image'),
    ...COMPRESSIONS.slice(0, 5).map((codec) => initrd(codec, '--compression', codec, ...add, '--link', `/init=${closure.toplevel}/init`)),
    initrd('none', '--compression', 'none', ...add, '--hard-links'),
    ...['single', 'manifest', 'per-path'].map((style) => netboot(style, '--style', style)),
    netboot('kexec', '--kexec', '--initrd-compression', 'gzip:1', '--kernel-param', 'quiet'),
    ...FORMATS.map((format) => efi(format, '--format', format)),
    disk('efixbootldr', '--layout', 'efixbootldr', '--esp-size', '128M'),
    efi('hybrid', '--layout', 'hybrid'),
    ...['legacy+gpt', 'legacy', 'legacy+boot', 'none'].map((layout) => disk(layout, '--layout', layout)),
    disk('uki', '--esp-size', '40M', '--boot-loader', 'uki'),
    efi('no boot loader', '--boot-loader', 'none'),
    disk('extlinux', '--layout', 'legacy+boot', '--boot-loader', 'extlinux'),
    efi('squashfs', '--root-fs', 'squashfs', '--format', 'qcow2'),
    efi(
      'options',
      ...add,
      '--label',
      'golden',
      '--seed',
      'golden',
      '--configuration',
      note,
      '--mtime',
      '1000000000',
      '--provenance',
      '--closure',
      listing,
    ),
    ...PRESETS.split(' ').map((preset) => disk(`preset ${preset}`, '--preset', preset, '--size', 'auto')),
    ...ZFS_FORMATS.map((format) => zfs(format, '--format', format)),
    ...['lz4', 'zstd', 'gzip', 'zle', 'off'].map((compression) => zfs(compression, '--fs-prop', `compression=${compression}`)),
    zfs('single-disk', '--layout', 'single-disk', '--parity'),
    zfs('uki', '--boot-loader', 'uki', ...add, '--seed', 'golden'),
    ...['amazon-zfs', 'openstack-zfs'].map((preset) => zfs(`preset ${preset}`, '--preset', preset)),
    ['replace', ['replace', '--closure', listing, ...store, '--replace', pair]],
    ['replace, whole store', ['replace', '--closure', listing, ...store, '--replace', pair, '--whole-store']],
    ['disk replaced', ['disk', '--closure', listing, ...store, '--free', '4M', '--replace', pair, '--esp-size', '20M']],
    ['toplevel', ['toplevel', spec, ...base]],
    ['iso of a spec', ['iso', ...base, ...fast, '--toplevel-spec', spec]],
  ]
}

/** Make all with the Kilnix in `checkout`; what fails has a status for a digest. */
export async function digests(checkout: string): Promise<Report> {
  const folder = mkdtempSync(join(tmpdir(), 'kilnix-golden-'))
  try {
    const inputs = await makeInputs(folder)
    mkdirSync(join(folder, 'made'))
    const request: Request = { folder: join(folder, 'made/images'), outputs: outputs(inputs), report: join(folder, 'report') }
    const maker = join(resolve(checkout), 'test/faults/every-output.ts')
    const env = { ...process.env, SOURCE_DATE_EPOCH: '' }
    const { status } = spawnSync(process.execPath, [maker, JSON.stringify(request)], { env, stdio: ['ignore', 'ignore', 'inherit'] })
    if (status !== 0) throw new Error(`${maker} ended with status ${status}`)
    return JSON.parse(readFileSync(request.report, 'utf8')) as Report
  } finally {
    await removeStore(folder)
  }
}

export function kept(): Golden {
  return JSON.parse(readFileSync(FILE, 'utf8')) as Golden
}

export function compressors(): Golden['compressors'] {
  const { zlib = '', zstd = '' } = process.versions
  return { zlib, zstd }
}

/** Names of the images that one has and the other has not, or has with other bytes. */
export function changed(before: Report, after: Report): string[] {
  return [...new Set([...Object.keys(before), ...Object.keys(after)])].filter((name) => before[name] !== after[name])
}

async function main(): Promise<number> {
  const { values } = parseArgs({ options: { checkout: { type: 'string', default: ROOT }, keep: { type: 'string' } } })
  const before: Golden = existsSync(FILE) ? kept() : { compressors: compressors(), digests: {}, changes: [] }
  const now = await digests(values.checkout)
  const failed = Object.entries(now).filter(([, digest]) => digest.startsWith('status'))
  for (const [name, status] of failed) console.log(`failed: ${name}: ${status}`)
  const names = changed(before.digests, now)
  for (const name of names) console.log(`changed: ${name}: ${before.digests[name] ?? 'new'} -> ${now[name] ?? 'gone'}`)
  console.log(`${Object.keys(now).length} images, ${names.length} changed, ${failed.length} failed`)
  if (values.keep !== undefined && failed.length === 0) {
    const changes = names.length === 0 ? before.changes : [{ why: values.keep, images: names }, ...before.changes]
    writeFileSync(FILE, `${JSON.stringify({ compressors: compressors(), digests: now, changes } satisfies Golden, undefined, 2)}\n`)
    return 0
  }
  return names.length + failed.length === 0 ? 0 : 1
}

if (import.meta.main) process.exitCode = await main()
