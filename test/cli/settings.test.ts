import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { nearest } from '../../src/bytes/nearest.ts'
import { type CommandName, loadCommands } from '../../src/cli/commands/index.ts'
import { withMemory } from '../../src/cli/memory.ts'
import { type Environment, readSettings as readGiven } from '../../src/cli/settings.ts'
import { splitAddress } from '../../src/cli/values.ts'
import { nodeValue } from '../../src/cli/values-initrd.ts'

const folder = mkdtempSync(join(tmpdir(), 'kilnix-settings-'))
afterAll(() => rmSync(folder, { recursive: true }))

const COMMANDS = await loadCommands()
const MINIMAL = ['--closure', 'c', '-o', 'out']

type Settings = Readonly<Record<string, unknown>>

function readSettings(name: CommandName, args: readonly string[], environment: Environment): Settings | undefined {
  const command = COMMANDS.find((one) => one.name === name)
  if (command === undefined) throw new Error(name)
  return readGiven(command, args, environment)
}

function read(args: string[], environment = {}, command: CommandName = 'iso'): Settings {
  const settings = readSettings(command, [...MINIMAL, ...args], environment)
  if (!settings) throw new Error('help was not asked for')
  return settings
}

function config(content: unknown): string[] {
  const file = join(folder, 'config.json')
  writeFileSync(file, typeof content === 'string' ? content : JSON.stringify(content))
  return ['--config', file]
}

const usageError = (message: RegExp) => expect.objectContaining({ code: 'USAGE', message: expect.stringMatching(message) })

describe('of two that exclude each other', () => {
  const store = '/nix/store/x-nixos'
  test('the command line has the one, whichever a config file gives', () => {
    const paths = readSettings('squashfs', ['-o', 'out', store, ...config({ closure: '/c' })], {})
    expect(paths).toMatchObject({ paths: [store] })
    expect(paths).not.toHaveProperty('closure')
    const listing = readSettings('squashfs', [...MINIMAL, ...config({ path: [store] })], {})
    expect(listing).toMatchObject({ closure: 'c' })
    expect(listing).not.toHaveProperty('paths')
  })

  test('a config file gives one', () => {
    const both = config({ path: [store], closure: '/c' })
    expect(() => readSettings('squashfs', ['-o', 'out', ...both], {})).toThrow(usageError(/is not expected, since --closure is given/))
  })
})

describe('arguments', () => {
  test('defaults', () => {
    // What has no default is not there, so that the recipe's own stands.
    expect(read([])).toEqual({
      closure: 'c',
      output: 'out',
      root: '/',
      checkSignatures: true,
      verify: true,
      caseHack: false,
      force: false,
      compressImage: false,
      dryRun: false,
      json: false,
      blockSize: 1048576,
      mediaCheck: false,
      menu: 'graphical',
      menuPrefix: '',
      menuSuffix: ' Installer',
      hideBase: false,
      hybrid: 'gpt',
      progress: 'auto',
      quiet: false,
      strict: false,
      withoutInitrdSecrets: false,
    })
  })

  test.each([
    [['--root', '/x'], { root: '/x' }],
    [['--toplevel=/nix/store/x'], { toplevel: '/nix/store/x' }],
    [['--no-verify'], { verify: false }],
    [['--verify'], { verify: true }],
    [['-o', '-'], { output: '-' }],
    [['--closure', '-'], { closure: '-' }],
    [['--force', '--quiet', '--compress-image'], { force: true, quiet: true, compressImage: true }],
    [['--dry-run', '--json'], { dryRun: true, json: true }],
    [['--compression', 'xz'], { compression: { name: 'xz', level: 6 } }],
    [['--compression', 'lz4:hc'], { compression: { name: 'lz4', level: 12 } }],
    [['--block-size', '128K'], { blockSize: 131072 }],
    [['--block-size', '1MiB'], { blockSize: 1048576 }],
    [['--block-size', '0.125MiB'], { blockSize: 131072 }],
    [['--block-size', '4096'], { blockSize: 4096 }],
    [['--jobs', '8'], { jobs: 8 }],
    [['--timeout', '0'], { timeoutSeconds: 0 }],
    [['--timeout', 'none'], { timeoutSeconds: null }],
    [['--menu-suffix', ''], { menuSuffix: '' }],
    [['--hybrid', 'nixpkgs'], { hybrid: 'nixpkgs' }],
    [['--kernel-param', 'a=b', '--kernel-param=-c d'], { kernelParams: ['a=b', '-c d'] }],
    [
      ['--add', '/docs/x=./y', '--add', 'a\\=b\\\\=c=d'],
      {
        add: [
          { target: 'docs/x', source: './y' },
          { target: 'a=b\\', source: 'c=d' },
        ],
      },
    ],
    [['--mtime', '0'], { mtimeSeconds: 0 }],
    [['--mtime', '2026-11-21'], { mtimeSeconds: 1795219200 }],
    [['--mtime', '2026-11-21T05:10:28Z'], { mtimeSeconds: 1795237828 }],
    [['--progress', 'plain'], { progress: 'plain' }],
    [['--volume-id', 'A B', '--label-edition', 'minimal'], { volumeId: 'A B', labelEdition: 'minimal' }],
  ])('%j', (args, expected) => {
    expect(read(args)).toMatchObject(expected)
  })

  test('threads are as many as fit into the memory that is given, and one at least', () => {
    const jobsOf = (...args: string[]): unknown => (withMemory(read(args)) as { readonly jobs?: number }).jobs
    expect(jobsOf()).toBeUndefined()
    expect(jobsOf('--jobs', '8', '--memory', '4G')).toBe(8)
    expect(jobsOf('--jobs', '200', '--memory', '4G')).toBe(Math.floor((4096 - 176) / 52))
    expect(jobsOf('--jobs', '8', '--memory', '0.5G')).toBe(6)
    expect(jobsOf('--jobs', '8', '--memory', '64M')).toBe(1)
    expect(jobsOf('--memory', '280M')).toBeLessThanOrEqual(2)
  })

  test.each([
    [['--blocksize', '1M'], /no option --blocksize; did you mean --block-size\?/],
    [['--frobnicate'], /no option --frobnicate$/],
    [['-x'], /no option -x$/],
    [['stray'], /'stray' is not expected/],
    [['--root'], /--root <value>' argument missing/],
    [['--force=yes'], /--force' does not take an argument/],
    [['--json'], /--json goes with --dry-run/],
    [['--compression', 'brotli'], /no such codec/],
    [['--compression', 'zstd:99'], /zstd/],
    [['--block-size', '3000'], /--block-size is '3000'/],
    [['--block-size', '2M'], /from 4K to 1M/],
    [['--block-size', '8.3K'], /--block-size is '8\.3K', which is no whole number of bytes; give 8500$/],
    [['--block-size', '0.1M'], /give 103K$/],
    [['--block-size', '4096.5'], /give 4097$/],
    [['--block-size', '.5M'], /from 4K to 1M/],
    [['--block-size', '12K'], /power of two/],
    [['--block-size', '1e6'], /it must be a size/],
    [['--jobs', '0'], /whole number from 1 to 256/],
    [['--jobs', '1.5'], /whole number/],
    [['--jobs', 'many'], /whole number/],
    [['--timeout', 'soon'], /number of seconds, or none/],
    [['--timeout', '3600'], /from 0 to 3599/],
    [['--hybrid', 'mbr'], /one of gpt, nixpkgs, none/],
    [['--add', 'x'], /TARGET=SOURCE/],
    [['--add', '../x=y'], /TARGET=SOURCE/],
    [['--add', '=y'], /--add is '=y', it must be TARGET=SOURCE/],
    [['--add', 'x='], /TARGET=SOURCE/],
    [['--add', 'x=y', '--add', '/x=z'], /target \/x is named twice/],
    [['--mtime', 'yesterday'], /seconds since 1970/],
    [['--mtime', '2026-13-01'], /seconds since 1970/],
    [['--mtime', '4294967296'], /seconds since 1970/],
    [['--closure', ''], /--closure is empty/],
  ])('%j is refused', (args, message) => {
    expect(() => read(args)).toThrow(usageError(message))
  })

  test.each([
    ['initrd', ['--link', '/init=/nix/store/x'], { links: [{ target: 'init', destination: '/nix/store/x' }] }],
    ['initrd', ['--prepend', 'a', '--prepend', 'b', '--hard-links'], { prepend: ['a', 'b'], hardLinks: true }],
    [
      'netboot',
      ['--style', 'per-path', '--pieces', 'p', '--pieces-limit', '2T'],
      { style: 'per-path', pieces: 'p', piecesLimit: 2 * 2 ** 40 },
    ],
    ['netboot', ['--kexec', '--kexec-compression', 'xz'], { kexec: true, kexecCompression: { name: 'xz', level: 6 } }],
    ['netboot', [], { style: 'single', kexec: false }],
  ] as const)('kilnix %s %j', (command, args, expected) => {
    expect(read([...args], {}, command)).toMatchObject(expected)
  })

  test.each([
    ['disk', ['--size', '8G', '--free', '0', '--esp-size', '1G'], { size: 8 * 2 ** 30, freeSize: 0, espSize: 2 ** 30 }],
    ['disk', ['--size', 'auto', '--preset', 'azure'], { size: 'auto', preset: 'azure' }],
    ['disk', ['--add', 'root/key=./a:b:0600:1:2'], { add: [{ target: 'root/key', source: './a:b', mode: 0o600, uid: 1, gid: 2 }] }],
    [
      'disk',
      ['--add', 'x=a:644', '--add', 'y=a:0644:7'],
      {
        add: [
          { target: 'x', source: 'a', mode: 0o644 },
          { target: 'y', source: 'a', mode: 0o644, uid: 7 },
        ],
      },
    ],
    ['disk', ['--add', 'x=C:dir:y'], { add: [{ target: 'x', source: 'C:dir:y' }] }],
    ['disk', ['--root-uuid', 'F222513B-DED1-49FA-B591-20CE86A2FE7F'], { rootUuid: 'F222513B-DED1-49FA-B591-20CE86A2FE7F' }],
    ['iso', ['--add', 'x=a:644'], { add: [{ target: 'x', source: 'a:644' }] }],
  ] as const)('kilnix %s %j', (command, args, expected) => {
    expect(read([...args], {}, command)).toMatchObject(expected)
  })

  test.each([
    ['--dataset', 'tank/root:/', 'datasets', { name: 'tank/root', mount: '/', properties: {} }],
    ['--dataset', 'tank/a:b', 'datasets', { name: 'tank/a:b', properties: {} }],
    [
      '--dataset',
      'tank/a:b:/c,atime=on,x:y=1=2\\,3',
      'datasets',
      { name: 'tank/a:b', mount: '/c', properties: { atime: 'on', 'x:y': '1=2,3' } },
    ],
    ['--snapshot', 'tank/root@blank', 'snapshots', { dataset: 'tank/root', name: 'blank', state: 'empty' }],
    ['--snapshot', 'tank/root@full=populated', 'snapshots', { dataset: 'tank/root', name: 'full', state: 'populated' }],
    ['--pool-prop', 'ashift=9', 'poolProperties', ['ashift', '9']],
    ['--fs-prop', 'user:text=a=b', 'fileSystemProperties', ['user:text', 'a=b']],
  ] as const)('kilnix zfs %s %s', (option, value, key, expected) => {
    expect(read([option, value], {}, 'zfs')[key]).toEqual([expected])
  })

  test.each([
    [['--dataset', ':/'], /NAME\[:MOUNT\]/],
    [['--dataset', 'tank/a,atime'], /'atime' is not PROPERTY=VALUE/],
    [['--dataset', 'tank/a,atime=on,atime=off'], /atime is given twice/],
    [['--snapshot', 'tank/root'], /DATASET@NAME/],
    [['--snapshot', 'tank/root@a=b'], /DATASET@NAME/],
    [['--pool-prop', 'ashift'], /NAME=VALUE/],
    [['--layout', 'efi'], /one of two-disk, single-disk/],
    [['--format', 'raw.tar.gz'], /one of raw, qcow2/],
    [['--boot-loader', 'extlinux'], /one of systemd-boot, uki, none/],
  ])('kilnix zfs %j is refused', (args, message) => {
    expect(() => read(args, {}, 'zfs')).toThrow(usageError(message))
  })

  test('datasets in a config file are written as on the command line', () => {
    const given = config({ closure: 'c', output: 'o', dataset: ['tank/a:/,atime=on'], poolProp: ['ashift=9'] })
    expect(readSettings('zfs', given, {})).toMatchObject({
      datasets: [{ name: 'tank/a', mount: '/', properties: { atime: 'on' } }],
      poolProperties: [['ashift', '9']],
    })
    expect(() => readSettings('zfs', config({ closure: 'c', output: 'o', dataset: [1] }), {})).toThrow(usageError(/must be a string/))
  })

  test.each([
    [['a.img', '-o', 'b.vdi'], { input: 'a.img', output: 'b.vdi' }],
    [['-o', 'b', '--format', 'qcow2', 'a'], { input: 'a', output: 'b', format: 'qcow2' }],
  ])('kilnix convert %j', (args, expected) => {
    expect(readSettings('convert', args, {})).toMatchObject(expected)
  })

  test.each([
    [['-o', 'b'], /IN is missing/],
    [['a', 'b', '-o', 'c'], /'b' is not expected/],
    [['a', '-o', 'b', '--format', 'qed'], /one of raw, qcow2/],
    [['a', '-o', 'b', '--closure', 'c'], /no option --closure/],
  ])('kilnix convert %j is refused', (args, message) => {
    expect(() => readSettings('convert', args, {})).toThrow(usageError(message))
  })

  test.each([
    [['--size', 'huge'], /--size/],
    [['--root-uuid', '123'], /hex digits/],
    [['--layout', 'mbr'], /one of efi/],
    [['--preset', 'aws'], /one of raw-efi/],
  ])('kilnix disk %j is refused', (args, message) => {
    expect(() => read(args, {}, 'disk')).toThrow(usageError(message))
  })

  test.each([
    ['initrd', ['--add', 'x=y', '--link', '/x=z'], /target \/x is named twice/],
    ['initrd', ['--link', 'x='], /TARGET=DESTINATION/],
    ['netboot', ['--pieces-limit', '1G'], /--pieces-limit goes with --pieces/],
    ['netboot', ['--style', 'grahamc'], /one of single, manifest, per-path/],
    ['netboot', ['--block-size', '3000'], /--block-size/],
  ] as const)('kilnix %s %j is refused', (command, args, message) => {
    expect(() => read([...args], {}, command)).toThrow(usageError(message))
  })

  test.each([
    ['127.0.0.1:8080', { host: '127.0.0.1', port: 8080 }],
    ['[::1]:0', { host: '::1', port: 0 }],
    ['[fe80::1%eth0]:80', { host: 'fe80::1%eth0', port: 80 }],
    ['localhost:65535', { host: 'localhost', port: 65535 }],
  ])('--listen %s', (text, expected) => {
    const settings = readSettings('serve', ['--closure', 'c', '--listen', text], {})
    expect(splitAddress(String(settings?.listen))).toEqual(expected)
  })

  test.each(['8080', ':8080', '127.0.0.1', '127.0.0.1:', '127.0.0.1:65536', '::1:80', 'a b:80', '127.0.0.1:8080/x'])(
    '--listen %s is refused',
    (text) => {
      expect(() => readSettings('serve', ['--closure', 'c', '--listen', text], {})).toThrow(usageError(/ADDRESS:PORT/))
    },
  )

  test('what is missing, and what belongs to another command', () => {
    expect(() => readSettings('iso', ['-o', 'x'], {})).toThrow(usageError(/PATH or --closure is missing/))
    expect(() => readSettings('iso', ['--closure', 'x'], {})).toThrow(usageError(/--output is missing/))
    expect(readSettings('iso', ['--closure', 'x', '--dry-run'], {})).toMatchObject({ output: '-', dryRun: true })
    expect(() => read(['--volume-id', 'X'], {}, 'squashfs')).toThrow(usageError(/no option --volume-id/))
    expect(readSettings('iso', ['--help', '--closure'].slice(0, 1), {})).toBeUndefined()
    expect(readSettings('iso', ['-h'], {})).toBeUndefined()
  })
})

describe('SOURCE_DATE_EPOCH', () => {
  test('gives the time, after the command line and the config file', () => {
    const environment = { SOURCE_DATE_EPOCH: '1000' }
    expect(read([], environment).mtimeSeconds).toBe(1000)
    expect(read(config({ mtime: 2000 }), environment).mtimeSeconds).toBe(2000)
    expect(read([...config({ mtime: 2000 }), '--mtime', '3000'], environment).mtimeSeconds).toBe(3000)
    expect(read([], { SOURCE_DATE_EPOCH: '' }).mtimeSeconds).toBeUndefined()
    expect(() => read([], { SOURCE_DATE_EPOCH: 'now' })).toThrow(usageError(/SOURCE_DATE_EPOCH is "now"/))
  })
})

describe('config files', () => {
  test('all kinds of values; relative paths count from the file', () => {
    mkdirSync(join(folder, 'below'), { recursive: true })
    const content = {
      $schema: 'x',
      closure: 'closure-info',
      output: '/abs/out.iso',
      root: '.',
      verify: false,
      blockSize: '128K',
      timeout: null,
      mtime: '2026-11-21',
      kernelParam: ['a', 'b'],
      add: ['/docs=../docs'],
      jobs: 3,
      hybrid: 'none',
    }
    const settings = readSettings('iso', config(content), {})
    expect(settings).toMatchObject({
      closure: join(folder, 'closure-info'),
      output: '/abs/out.iso',
      root: folder,
      verify: false,
      blockSize: 131072,
      timeoutSeconds: null,
      mtimeSeconds: 1795219200,
      kernelParams: ['a', 'b'],
      add: [{ target: 'docs', source: join(folder, '../docs') }],
      jobs: 3,
      hybrid: 'none',
    })
  })

  test('the command line wins, also to say no', () => {
    const file = config({ closure: 'x', force: true, blockSize: 4096, timeout: null, kernelParam: ['a'], output: '-' })
    const settings = read([...file, '--no-force', '--block-size', '1M', '--timeout', '3', '--kernel-param', 'b'])
    expect(settings).toMatchObject({
      closure: 'c',
      output: 'out',
      force: false,
      blockSize: 1048576,
      timeoutSeconds: 3,
      kernelParams: ['b'],
    })
  })

  test.each([
    ['{', /is not JSON/],
    [[], /must hold a JSON object/],
    [{ volumeID: 'X' }, /no option 'volumeID' of kilnix iso; did you mean 'volumeId'\?/],
    [{ dryRun: true }, /no option 'dryRun'/],
    [{ config: 'x' }, /no option 'config'/],
    [{ 'volume-id': 'X' }, /no option 'volume-id'/],
    [{ force: 'yes' }, /'force' is "yes", it must be true or false/],
    [{ closure: 3 }, /'closure' is 3, it must be a string/],
    [{ jobs: '3' }, /'jobs' is "3", it must be a whole number/],
    [{ jobs: 1.5 }, /whole number/],
    [{ blockSize: 1.5 }, /it must be a size/],
    [{ timeout: '10' }, /whole number/],
    [{ kernelParam: 'a' }, /'kernelParam' must be a list/],
    [{ kernelParam: ['a', 1] }, /'kernelParam'\[1\] is 1, it must be a string/],
    [{ mtime: -1 }, /seconds since 1970/],
    [{ compression: 'zip' }, /no such codec/],
    [{ hybrid: null }, /it must be a string/],
  ])('%j is refused', (content, message) => {
    expect(() => read(config(content))).toThrow(usageError(message))
  })

  test('an option of the other command, and a file that is not there', () => {
    expect(() => read(config({ volumeId: 'X' }), {}, 'squashfs')).toThrow(usageError(/no option 'volumeId' of kilnix squashfs/))
    expect(() => read(['--config', join(folder, 'nowhere.json')])).toThrow(usageError(/cannot be read: ENOENT/))
  })
})

describe('arguments without a name', () => {
  const settings = (command: CommandName, ...args: string[]) => readSettings(command, args, {})

  test.each<[CommandName, string[], object]>([
    ['closure why', ['c', 'a', 'b'], { closure: 'c', fromPath: 'a', toPath: 'b' }],
    ['closure why', ['a', 'b', '--closure', 'c'], { closure: 'c', fromPath: 'a', toPath: 'b' }],
    ['closure why', ['--to-path=b', 'c', 'a'], { closure: 'c', fromPath: 'a', toPath: 'b' }],
    ['nar restore', ['-', 'out'], { input: '-', folder: 'out' }],
    ['nar restore', ['--', '-x', '-y'], { input: '-x', folder: '-y' }],
    ['nar ls', ['x.nar'], { input: 'x.nar' }],
    ['nar ls', ['x.nar', '/bin', '--json', '-Rl'], { input: 'x.nar', member: '/bin', json: true, recursive: true, long: true }],
    ['closure diff', ['-', 'new'], { oldClosure: '-', newClosure: 'new' }],
    ['convert', ['in', '-o', 'out'], { input: 'in', output: 'out' }],
  ])('kilnix %s %j', (command, args, expected) => {
    expect(settings(command, ...args)).toMatchObject(expected)
  })

  test.each<[CommandName, string[], RegExp]>([
    ['closure why', ['c', 'a'], /^TO is missing/],
    ['closure why', ['a', 'b'], /^TO is missing/],
    ['nar restore', ['x'], /^DIR is missing/],
    ['nar restore', ['x', ''], /^DIR is empty, it must be a path/],
    ['nar ls', ['x', 'y', 'z'], /^'z' is not expected/],
    ['closure why', ['--closure', 'c', 'a', 'b', 'd'], /^'d' is not expected/],
    ['closure show', ['c', '--top', '0'], /--top is "0"|--top is 0/],
  ])('kilnix %s %j is refused', (command, args, message) => {
    expect(() => settings(command, ...args)).toThrow(usageError(message))
  })
})

test('suggestions are near or there are none', () => {
  expect(nearest('outptu', ['output', 'root'])).toBe('output')
  expect(nearest('xyz', ['output', 'root'])).toBeUndefined()
  expect(nearest('', ['output'])).toBeUndefined()
})

describe('values that look like something else', () => {
  test('a value that begins with a dash is told how it is written', () => {
    expect(() => read(['--kernel-param', '-- x'])).toThrow(
      "--kernel-param is followed by '-- x'; a value that begins with a dash is written --kernel-param='-- x'",
    )
    expect(read(['--kernel-param=-- x']).kernelParams).toEqual(['-- x'])
    expect(() => read(['-o', '--force'])).toThrow(/--output is followed by/)
  })

  test('the root is a target of additions, and of nothing else', () => {
    expect(read(['--add', '/=a', '--add', '/=b']).add).toMatchObject([{ target: '/' }, { target: '/' }])
    expect(() => nodeValue().parse('/=c:5:1', '--node')).toThrow(/TARGET a path in the image/)
  })

  test('devices and pipes', () => {
    const parse = (value: string) => nodeValue().parse(value, '--node')
    expect(parse('/dev/console=c:5:1')).toEqual({ target: 'dev/console', kind: 'characterDevice', major: 5, minor: 1 })
    expect(parse('/dev/sda=b:8:0:0660:0:6')).toEqual({
      target: 'dev/sda',
      kind: 'blockDevice',
      major: 8,
      minor: 0,
      mode: 0o660,
      uid: 0,
      gid: 6,
    })
    expect(parse('/run/p=p:0644')).toEqual({ target: 'run/p', kind: 'fifo', mode: 0o644 })
    for (const value of ['/dev/x=c:5', '/dev/x=d:5:1', '/dev/x=c:5:1:9', '/dev/x=p:1:1', 'c:5:1'])
      expect(() => parse(value), value).toThrow(/--node is/)
  })
})
