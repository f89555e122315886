/** Every option means the same on the command line, in a config file and to the recipe. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, expectTypeOf, it } from 'vitest'
import type { Command } from '../../src/cli/command.ts'
import type convert from '../../src/cli/commands/convert.ts'
import type disk from '../../src/cli/commands/disk.ts'
import { loadCommands } from '../../src/cli/commands/index.ts'
import type initrd from '../../src/cli/commands/initrd.ts'
import type iso from '../../src/cli/commands/iso.ts'
import type netboot from '../../src/cli/commands/netboot.ts'
import type replace from '../../src/cli/commands/replace.ts'
import type serve from '../../src/cli/commands/serve.ts'
import type squashfs from '../../src/cli/commands/squashfs.ts'
import type toplevel from '../../src/cli/commands/toplevel.ts'
import type zfs from '../../src/cli/commands/zfs.ts'
import { configName, configurable, type NamedRow, rowList } from '../../src/cli/row.ts'
import { readSettings } from '../../src/cli/settings.ts'
import type { ConvertOptions } from '../../src/images/disk/convert.ts'
import type { DiskOptions } from '../../src/images/disk/index.ts'
import type { InitrdOptions } from '../../src/images/initrd.ts'
import type { IsoOptions } from '../../src/images/iso.ts'
import type { NetbootOptions } from '../../src/images/netboot/index.ts'
import type { StoreSquashfsOptions } from '../../src/images/squashfs.ts'
import type { ZfsOptions } from '../../src/images/zfs/index.ts'
import type { StoreInput } from '../../src/system/input.ts'

const folder = mkdtempSync(join(tmpdir(), 'kilnix-rows-'))
afterAll(() => rmSync(folder, { recursive: true }))

/** A value that is not the default, as it is written; in JSON, too, unless the second says otherwise. */
const SAMPLES: Readonly<Record<string, readonly [text: string, json?: unknown]>> = {
  paths: ['/nix/store/x-nixos'],
  closure: ['/a/closure'],
  store: ['/a/store'],
  root: ['/a/root'],
  from: ['https://cache.example.org'],
  trustedPublicKeys: ['name:AAAA'],
  redirectHosts: ['files.example.org'],
  narCache: ['/a/nars'],
  narCacheSize: ['1G', 1024 ** 3],
  toplevel: ['/nix/store/x-nixos'],
  toplevelSpec: ['/a/spec.json'],
  replacements: ['/nix/store/a-old=/nix/store/b-new'],
  cutoffs: ['/nix/store/x-initrd'],
  output: ['/a/output'],
  compression: ['zstd:3'],
  blockSize: ['128K', 131072],
  initrdCompression: ['gzip:1'],
  kexecCompression: ['xz:6'],
  pieces: ['/a/pieces'],
  piecesLimit: ['2T', 2 ** 41],
  jobs: ['3', 3],
  memory: ['1.5G', 1.5 * 2 ** 30],
  syslinux: ['/a/syslinux'],
  efiBoot: ['/a/efi'],
  kernelParams: ['quiet splash'],
  timeoutSeconds: ['none', null],
  menuPrefix: ['> '],
  defaultEntry: ['debug'],
  menuSuffix: [''],
  entries: ['Memory=/a/memtest.efi'],
  menuTitle: ['Mine'],
  grubTheme: ['/a/theme'],
  splash: ['/a/picture.png'],
  serialConsole: ['ttyS1,9600'],
  specialisation: ['debug'],
  initrdSecrets: ['/a/secrets'],
  prepend: ['/a/ucode.img'],
  size: ['8G', 2 ** 33],
  freeSize: ['0', 0],
  espSize: ['1G', '1024M'],
  bootSize: ['auto'],
  rootSize: ['8G', '8192M'],
  label: ['system'],
  cpuCount: ['3', 3],
  memorySize: ['2G', '2048M'],
  hardwareVersion: ['13', 13],
  seed: ['x'],
  rootUuid: ['f222513b-ded1-49fa-b591-20ce86a2fe7f'],
  diskGuid: ['F222513B-DED1-49FA-B591-20CE86A2FE7F'],
  configuration: ['/a/configuration.nix'],
  channel: ['/nix/store/x-channels'],
  pool: ['pond'],
  datasets: ['tank/a:/,atime=on'],
  snapshots: ['tank/a@b=populated'],
  poolProperties: ['ashift=9'],
  fileSystemProperties: ['atime=on'],
  volumeId: ['VOLUME'],
  labelEdition: ['minimal'],
  add: ['/x=/a/keys:0600'],
  links: ['/init=/nix/store/x/init'],
  nodes: ['/dev/console=c:5:1:0620:0:5'],
  mtimeSeconds: ['2026-11-21', 1795219200],
  listen: ['[::1]:0'],
  names: ['boot.example.org'],
  inputFormat: ['vmdk'],
  backing: ['/a/base.qcow2'],
  dataFile: ['/a/data.raw'],
  extents: ['/a/extents'],
  snapshot: ['before'],
  disk: ['2'],
  additionalDisks: ['/a/data.img'],
}

/** How a row is given in both ways: flags are turned over, and the last of several words is taken. */
function sampleOf(named: NamedRow): { readonly args: readonly string[]; readonly json: unknown } {
  const { key, flag, row } = named
  if (row.type.placeholder === '') return { args: [row.default === true ? `--no-${flag}` : `--${flag}`], json: row.default !== true }
  const choices = row.type.schema.enum as readonly (string | number)[] | undefined
  const sample = choices === undefined ? SAMPLES[key] : ([`${choices.at(-1)}`, choices.at(-1)] as const)
  if (sample === undefined) throw new Error(`--${flag} needs a sample`)
  const [text, json = text] = sample
  return { args: [`--${flag}=${text}`], json: row.repeatable ? [json] : json }
}

/** By name, what the command does not work without: of two that exclude each other, the one that may stand for the other. */
function requiredArgs(command: Command, except: string): string[] {
  const needed = rowList(command.rows).filter(
    ({ key, row }) => key !== except && (row.required || (row.insteadOf !== undefined && row.insteadOf !== except)),
  )
  return needed.flatMap(({ key, flag }) => [`--${flag}`, SAMPLES[key]?.[0] ?? '/a/file'])
}

function isNeeded(command: Command, { key, row }: NamedRow): boolean {
  return row.required || row.insteadOf !== undefined || rowList(command.rows).some((other) => other.row.insteadOf === key)
}

const COMMANDS = await loadCommands()
const CONFIGURED = COMMANDS.filter(({ rows }) => 'config' in rows)

const CASES = CONFIGURED.flatMap((command) =>
  [...configurable(command.rows)].map(([name, named]) => [command.name, name, command, named] as const),
)

describe('an option gives the same', () => {
  it('is tried for every command with config files', () => {
    expect(CASES.length).toBeGreaterThan(150)
  })

  it.each(CASES)('kilnix %s: %s', (_, name, command, named) => {
    const needs = named.row.needs === undefined ? [] : sampleOf(rowOf(command, named.row.needs)).args
    const base = [...requiredArgs(command, named.key), ...needs]
    const { args, json } = sampleOf(named)
    const file = join(folder, 'config.json')
    writeFileSync(file, JSON.stringify({ [name]: json }))
    const fromArguments = readSettings(command, [...base, ...args], {})
    const { config, ...fromConfig } = readSettings(command, [...base, '--config', file], {}) as Record<string, unknown>
    expect(config).toBe(file)
    expect(fromConfig).toEqual(fromArguments)
    expect(fromConfig[named.key]).toEqual((fromArguments as Record<string, unknown>)[named.key])
    expect(fromConfig).toHaveProperty(named.key)
    // Without it, it is something else, or nothing.
    if (isNeeded(command, named)) expect(() => readSettings(command, base, {})).toThrow(expect.objectContaining({ code: 'USAGE' }))
    else expect(readSettings(command, base, {})).not.toEqual(fromArguments)
  })

  it.each(CONFIGURED.map((command) => [command.name, command] as const))('kilnix %s has one spelling a row', (_, { rows }) => {
    const names = rowList(rows).map(configName)
    expect(new Set(names).size).toBe(names.length)
    for (const named of rowList(rows)) expect(named.flag).toMatch(/^[a-z0-9]+(-[a-z0-9]+)*$/)
  })
})

function rowOf(command: Command, key: string): NamedRow {
  const found = rowList(command.rows).find((named) => named.key === key)
  if (found === undefined) throw new Error(key)
  return found
}

/** What the command takes for itself, and no recipe knows. */
type OfTheCommand = 'output' | 'force' | 'dryRun' | 'json' | 'jobs' | 'memory' | 'config' | 'progress' | 'quiet'

/** Keys of the command that its recipe does not have. */
type Strange<C extends { readonly rows: object }, O> = Exclude<keyof C['rows'], keyof O | OfTheCommand>

describe("a row's key is the name that the recipe has", () => {
  it('for all of them, as the compiler says', () => {
    expectTypeOf<Strange<typeof iso, IsoOptions>>().toEqualTypeOf<'compressImage'>()
    expectTypeOf<Strange<typeof squashfs, StoreSquashfsOptions>>().toEqualTypeOf<never>()
    expectTypeOf<Strange<typeof initrd, InitrdOptions>>().toEqualTypeOf<never>()
    expectTypeOf<Strange<typeof netboot, NetbootOptions>>().toEqualTypeOf<never>()
    expectTypeOf<Strange<typeof serve, NetbootOptions>>().toEqualTypeOf<'listen' | 'names'>()
    expectTypeOf<Strange<typeof disk, DiskOptions>>().toEqualTypeOf<never>()
    expectTypeOf<Strange<typeof zfs, ZfsOptions>>().toEqualTypeOf<never>()
    expectTypeOf<Strange<typeof convert, ConvertOptions>>().toEqualTypeOf<never>()
    expectTypeOf<Strange<typeof toplevel, StoreInput>>().toEqualTypeOf<'wholeStore'>()
    expectTypeOf<Strange<typeof replace, StoreInput>>().toEqualTypeOf<'wholeStore'>()
  })

  it('and a command that writes has the rows that writing needs', () => {
    for (const command of COMMANDS) {
      if (!('writes' in command)) continue
      expect(Object.keys(command.rows)).toEqual(expect.arrayContaining(['output', 'force', 'dryRun', 'json', 'progress', 'quiet']))
    }
  })
})

describe('a config file is read as the command has its options', () => {
  const config = (name: string, content: object): Record<string, unknown> => {
    const command = COMMANDS.find((one) => one.name === name)
    if (command === undefined) throw new Error(name)
    const file = join(folder, 'config.json')
    writeFileSync(file, JSON.stringify({ $schema: 'x', closure: '/c', output: '/o', ...content }))
    return readSettings(command, ['--config', file], {}) as Record<string, unknown>
  }

  it('zfs has presets, formats, layouts and boot loaders of its own', () => {
    expect(config('zfs', { preset: 'amazon-zfs' })).toMatchObject({ preset: 'amazon-zfs' })
    expect(config('zfs', { layout: 'single-disk', format: 'vdi' })).toMatchObject({ layout: 'single-disk', format: 'vdi' })
  })

  it.each([
    ['zfs', { format: 'raw.tar.gz' }, /'format' is 'raw.tar.gz', it must be one of raw, qcow2/],
    ['zfs', { bootLoader: 'extlinux' }, /'bootLoader' is 'extlinux', it must be one of systemd-boot, uki, none$/],
    ['zfs', { preset: 'amazon' }, /'preset' is 'amazon', it must be one of amazon-zfs/],
    ['zfs', { layout: 'efi' }, /'layout' is 'efi', it must be one of two-disk, single-disk$/],
    ['disk', { layout: 'two-disk' }, /'layout' is 'two-disk', it must be one of efi/],
    ['disk', { preset: 'amazon-zfs' }, /'preset' is 'amazon-zfs', it must be one of raw-efi/],
    ['iso', { blockSize: '12K' }, /config.json: 'blockSize' is 12288, it must be a power of two$/],
  ])('kilnix %s refuses %j', (name, content, message) => {
    expect(() => config(name, content)).toThrow(expect.objectContaining({ code: 'USAGE', message: expect.stringMatching(message) }))
  })

  it.each(['disk', 'zfs'])('kilnix %s adds files with their mode', (name) => {
    expect(config(name, { add: ['/x=keys:0600', '/y=/a:b'] })).toMatchObject({
      add: [
        { target: 'x', source: join(folder, 'keys'), mode: 0o600 },
        { target: 'y', source: '/a:b' },
      ],
    })
  })

  it('a list with nothing in it gives nothing', () => {
    expect(config('iso', { kernelParam: [], add: [], replace: [] })).toEqual(config('iso', {}))
  })
})
