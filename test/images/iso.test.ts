/** The recipe of the live ISO on the small closure: what is planned, what is refused, and what is read back. */
import { existsSync, mkdirSync, readFileSync, readlinkSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { removeStore, unpackSmall } from '../../fixtures/unpack.ts'
import { DEFAULT_TIME, type IsoOptions, iso } from '../../src/images/iso.ts'
import { saveProduct } from '../../src/images/save.ts'
import { storeSquashfs } from '../../src/images/squashfs.ts'
import { saveImage } from '../../src/io/output.ts'
import type { ProgressEvent } from '../../src/io/progress.ts'
import { runOk } from '../oracles/tools.ts'
import { fromBytes, readFat } from '../readers/fat-reader.ts'
import { type IsoImage, readIso } from '../readers/iso9660-reader.ts'
import { bytesSource, readSquashfs } from '../readers/squashfs-reader.ts'

const bios = existsSync('/usr/lib/ISOLINUX/isolinux.bin') || process.env.CI === 'true'
if (!bios) console.warn('skipped: isolinux is not installed (Debian packages isolinux and syslinux-common)')

let work: string
let base: IsoOptions
let toplevel: string
const at = (...names: string[]): string => join(work, ...names)

beforeAll(async () => {
  work = await mkdtemp(join(tmpdir(), 'kilnix-iso-'))
  const small = await unpackSmall(at('closure'))
  base = { closure: small.folder, root: small.root, compression: { name: 'zstd', level: 1 }, blockSize: 131072 }
  toplevel = small.toplevel
  mkdirSync(at('empty'))
  mkdirSync(at('folder'))
  writeFileSync(at('folder', 'file'), 'added\n', { mode: 0o640 })
  writeFileSync(at('folder', 'program'), '#!/bin/sh\n', { mode: 0o750 })
  symlinkSync('file', at('folder', 'link'))
  symlinkSync('folder', at('result'))
  symlinkSync('nowhere', at('dangling'))
  runOk('mkfifo', [at('fifo')])
})
afterAll(() => removeStore(work))

let count = 0
async function build(options: IsoOptions, jobs = 2): Promise<{ bytes: Buffer; image: IsoImage }> {
  const path = at(`image-${count++}.iso`)
  const one = await iso(options)
  const { size } = await saveImage(one.image, path, { jobs })
  const bytes = readFileSync(path)
  rmSync(path)
  expect(size).toBe(bytes.length)
  expect(size).toBeLessThanOrEqual(one.plan.layout.sizeLimit)
  return { bytes, image: readIso((position, length) => bytes.subarray(position, position + length)) }
}

function content(image: IsoImage, path: string): Buffer {
  const entry = image.primary.entries.find((one) => one.path === path)
  if (entry === undefined) throw new Error(`the ISO has no ${path}`)
  return image.content(entry)
}

const esp = (image: IsoImage) => readFat(fromBytes(content(image, '/boot/efi.img')))
const pathsOf = (image: IsoImage): string[] => image.primary.entries.map(({ path }) => path)

describe('the plan', () => {
  it('is plain data and says what comes to lie where', async () => {
    const { plan } = await iso(base)
    expect(JSON.parse(JSON.stringify(plan))).toEqual(plan)
    expect(plan).toMatchObject({
      volumeId: 'nixos-26.05-x86_64',
      toplevel,
      system: 'x86_64-linux',
      bios: false,
      uefi: 'systemd-boot',
      hybrid: 'gpt',
      store: { pathCount: 14, verified: true, compression: { name: 'zstd', level: 1 }, blockSize: 131072 },
      layout: {
        volumeId: 'nixos-26.05-x86_64',
        growingFile: { path: '/nix-store.squashfs' },
        espPath: '/boot/efi.img',
        sizeIsExact: false,
      },
    })
    expect(plan.espBytes % (1 << 20)).toBe(0)
    expect(plan.entries.map(({ title }) => title)).toEqual([
      expect.stringMatching(/^NixOS 26\.05.* Installer$/),
      expect.stringMatching(/^NixOS 26\.05.* Installer \(verbose\)$/),
    ])
    for (const { kernel, parameters } of plan.entries) {
      expect(kernel).toMatch(/^\/boot\/nix\/store\/[0-9a-z]{32}-[^/]+\/bzImage$/)
      expect(parameters).toMatch(/^init=\/nix\/store\/.*\/init .*root=LABEL=nixos-26\.05-x86_64$/)
    }
    const planned = plan.layout.files.map(({ path }) => path)
    expect(planned).toEqual(
      expect.arrayContaining(['/version.txt', '/EFI/BOOT/BOOTX64.EFI', '/loader/loader.conf', '/boot/grub/loopback.cfg']),
    )
    // Kernels and initrds lie in the EFI system partition, at whole blocks.
    const shared = plan.layout.sharedFiles ?? []
    expect(shared.map(({ path }) => path)).toEqual(expect.arrayContaining([expect.stringMatching(/linux-.*Image/)]))
    for (const { block, size } of shared) expect(block * 2048 + size).toBeLessThanOrEqual(plan.espBytes)
  })

  it('has the entries that are wanted', async () => {
    const parameters = async (options: Partial<IsoOptions>) =>
      (await iso({ ...base, ...options })).plan.entries.map((entry) => entry.parameters)
    const [system, verbose] = await parameters({})
    expect(await parameters({ defaultEntry: 'verbose' })).toEqual([verbose, system])
    expect(await parameters({ hideBase: true })).toEqual([verbose])
    expect(await parameters({ specialisation: 'verbose' })).toEqual([verbose])
  })

  it('can be made without checking hashes', async () => {
    expect((await iso({ ...base, verify: false })).plan.store.verified).toBe(false)
  })

  it.each<[string, Partial<IsoOptions>, string | undefined]>([
    ['the default', {}, undefined],
    ['an edition', { labelEdition: 'mine' }, undefined],
    ['a volume id of 32 characters', { volumeId: 'V'.repeat(32) }, undefined],
  ])('has a volume id that the kernel is told: %s', async (_what, options) => {
    const { plan } = await iso({ ...base, ...options })
    expect(plan.volumeId).toBe(options.volumeId ?? (options.labelEdition ? 'nixos-mine-26.05-x86_64' : 'nixos-26.05-x86_64'))
    for (const { parameters } of plan.entries) expect(parameters).toContain(` root=LABEL=${plan.volumeId}`)
  })
})

describe('an ISO', () => {
  it('holds the very bytes of the store alone, and is the same with any number of workers', async () => {
    const first = await build(base, 1)
    expect((await build(base, 3)).bytes.equals(first.bytes)).toBe(true)
    const path = at('alone.squashfs')
    await saveProduct(await storeSquashfs({ ...base, mtimeSeconds: DEFAULT_TIME }), path)
    const alone = readFileSync(path)
    expect(content(first.image, '/nix-store.squashfs').equals(alone)).toBe(true)
    const store = readSquashfs(bytesSource(alone))
    expect([...store.root.children.keys()]).toContain('nix-path-registration')
    expect(store.root.children.size).toBe(15)
    expect(first.image.primary.volumeId).toBe('nixos-26.05-x86_64')
    // Another time is another image: the comparison above can fail.
    const later = await build({ ...base, mtimeSeconds: DEFAULT_TIME + 86400 })
    expect(later.bytes.equals(first.bytes)).toBe(false)
    expect(content(later.image, '/nix-store.squashfs').equals(alone)).toBe(false)
  })

  it.each(['gpt', 'none'] as const)('has all that UEFI needs in its own tree, the kernels once (%s)', async (hybrid) => {
    const { image } = await build({ ...base, hybrid })
    const inEsp = new Map([...esp(image).files].map(([path, file]) => [`/${path.replace(/^\//, '')}`, file]))
    const [image1] = image.primary.entries.filter(({ path }) => path === '/boot/efi.img')
    const [place] = image1?.extents ?? []
    if (place === undefined) throw new Error('no EFI system partition')
    let count = 0
    for (const [path, file] of inEsp) {
      const entry = image.primary.entries.find((one) => one.path === path)
      expect(entry && image.content(entry).equals(file.read()), path).toBe(true)
      if (!path.startsWith('/EFI/nixos/')) continue
      const [extent] = entry?.extents ?? []
      expect(extent?.block).toBeGreaterThanOrEqual(place.block)
      expect((extent?.block ?? 0) * 2048 + file.read().length).toBeLessThanOrEqual(place.block * 2048 + place.length)
      // What it is called in the menus of isolinux and GRUB is the same place.
      const twin = image.primary.entries.filter((one) => one.path.startsWith('/boot/nix/store/') && one.extents[0]?.block === extent?.block)
      expect(twin.map((one) => image.content(one).equals(file.read()))).toEqual([true])
      count++
    }
    expect(count).toBeGreaterThan(1)
    expect([...inEsp.keys()]).toEqual(expect.arrayContaining(['/loader/loader.conf', '/EFI/BOOT/BOOTX64.EFI']))
    const config = content(image, '/boot/grub/grub.cfg').toString()
    expect(content(image, '/boot/grub/loopback.cfg').toString()).toBe('source /boot/grub/grub.cfg\n')
    for (const [, path = ''] of config.matchAll(/^ +(?:linux|initrd) (\S+)/gm)) expect(pathsOf(image)).toContain(path)
  })

  it('has a marker and a serial of its own, which decide nothing but that', async () => {
    const names = async (options: Partial<IsoOptions>) => {
      const { image } = await build({ ...base, ...options })
      const [marker = ''] = pathsOf(image).filter((path) => /^\/EFI\/kilnix-[0-9a-f]{32}$/.test(path))
      expect(content(image, '/boot/grub/grub.cfg').toString()).toContain(`--file ${marker}\n`)
      expect(pathsOf(image)).toContain('/EFI/nixos-installer-image')
      return [marker, content(image, '/boot/efi.img').readUInt32LE(39)] as const
    }
    const [[marker, serial], again, other] = [await names({}), await names({}), await names({ volumeId: 'OTHER' })]
    expect(again).toEqual([marker, serial])
    expect(other[0]).not.toBe(marker)
    expect(other[1]).not.toBe(serial)
  })

  const menu: Partial<IsoOptions> = {
    timeoutSeconds: 7,
    menuPrefix: 'Before ',
    menuSuffix: ' after',
    kernelParams: ['first.extra', 'second=extra'],
    volumeId: 'OTHER',
  }
  const title = /Before NixOS 26\.05\S* .*after/
  const parameters = /init=\/nix\/store\/\S+\/init .*first\.extra second=extra root=LABEL=OTHER/

  it('hands timeout, prefix, suffix and parameters to systemd-boot', async () => {
    const { files, label } = esp((await build({ ...base, ...menu })).image)
    const text = (path: string): string => files.get(path)?.read().toString() ?? ''
    expect(label).toBe('EFIBOOT')
    const [first = ''] = [...files.keys()].filter((path) => /loader\/entries\/.*default\.conf$/.test(path))
    expect(text([...files.keys()].find((path) => path.endsWith('loader.conf')) ?? '')).toMatch(/^timeout 7$/m)
    expect(text(first)).toMatch(title)
    expect(text(first)).toMatch(parameters)
  })

  it.skipIf(!bios)('hands them to GRUB and isolinux as well', async () => {
    // A program that is PE and greets as GRUB does, which is all that is looked at.
    const own = readFileSync(systemdBoot(base))
    const text = own.toString('latin1').replaceAll('LoaderInfo: systemd-boot', 'LoaderInfo: another-one')
    const grub = Buffer.from(`${text}Welcome to GRUB!`, 'latin1')
    writeFileSync(at('grub.efi'), grub)
    const { image } = await build({ ...base, ...menu, efiBoot: at('grub.efi'), syslinux: '/usr/lib' })
    const config = content(image, '/EFI/BOOT/grub.cfg').toString()
    const inEsp = esp(image).files.get('EFI/BOOT/grub.cfg') ?? esp(image).files.get('/EFI/BOOT/grub.cfg')
    expect(inEsp?.read().toString()).toBe(config)
    expect(config).toMatch(/timeout=7\b/)
    expect(config).toMatch(title)
    expect(config).toMatch(parameters)
    const isolinux = content(image, '/isolinux/isolinux.cfg').toString()
    expect(isolinux).toMatch(/^TIMEOUT 70$/m)
    expect(isolinux).toMatch(title)
    expect(isolinux).toMatch(parameters)
    expect(image.boot.map(({ platform }) => platform)).toEqual([0, 0xef])
  })

  it('takes further files: folders, empty ones, what a link leads to; links below are kept', async () => {
    const add = [
      { target: 'empty', source: at('empty') },
      { target: '/deep/er/copy', source: at('result') },
      { target: 'boot/one', source: at('folder', 'link') },
    ]
    const { image } = await build({ ...base, add })
    const modes = new Map(image.primary.entries.map(({ path, mode, target }) => [path, target ?? mode?.toString(8)]))
    expect([modes.get('/empty'), modes.get('/deep/er/copy'), modes.get('/deep/er/copy/link')]).toEqual(['555', '555', 'file'])
    expect([modes.get('/deep/er/copy/file'), modes.get('/deep/er/copy/program'), modes.get('/boot/one')]).toEqual(['444', '555', '444'])
    expect(content(image, '/boot/one').toString()).toBe('added\n')
    for (const { path, mtimeSeconds } of image.primary.entries.filter(({ path }) => path.startsWith('/deep'))) {
      expect([path, mtimeSeconds]).toEqual([path, DEFAULT_TIME])
    }
    expect(pathsOf(image)).toContain('/nix-store.squashfs')
  })
})

describe('what the recipe refuses', () => {
  const refused = (options: Partial<IsoOptions>) =>
    iso({ ...base, ...options }).then(
      () => 'made',
      (error) => error,
    )

  it.each<[string, string, string]>([
    ['USAGE', 'nix-store.squashfs', 'folder/file'],
    ['USAGE', '/nix-store.squashfs/below', 'folder/file'],
    ['USAGE', 'boot/efi.img', 'folder/file'],
    ['USAGE', 'boot', 'folder/file'],
    ['USAGE', 'EFI/BOOT', 'folder/file'],
    ['USAGE', '.boot.cat', 'folder/file'],
    ['USAGE', 'version.txt', 'folder/file'],
    ['USAGE', '../x', 'folder/file'],
    ['USAGE', '', 'folder/file'],
    ['LIMIT', 'x'.repeat(256), 'folder/file'],
    ['UNSUPPORTED', 'x', 'fifo'],
    ['NOT_FOUND', 'x', 'missing'],
    ['NOT_FOUND', 'x', 'folder/file/below'],
    ['NOT_FOUND', 'x', 'dangling'],
    ['UNREADABLE', 'x', 'a\0b'],
  ])('%s: --add %s=%s', async (code, target, source) => {
    expect(await refused({ add: [{ target, source: at(source) }] })).toMatchObject({ name: 'ImageError', code })
  })

  it('USAGE: one target twice, and a source without a name', async () => {
    const one = { target: 'x', source: at('folder', 'file') }
    expect(await refused({ add: [one, { ...one, target: '/x' }] })).toMatchObject({ code: 'USAGE', path: '/x' })
    expect(await refused({ add: [{ target: 'x', source: '' }] })).toMatchObject({ code: 'USAGE' })
  })

  it.each<[string, Partial<IsoOptions>, RegExp]>([
    ['LIMIT', { volumeId: '' }, /volume id ''/],
    ['LIMIT', { volumeId: 'x'.repeat(33) }, /33 characters/],
    ['LIMIT', { volumeId: 'grün' }, /ASCII/],
    ['LIMIT', { labelEdition: 'x'.repeat(30) }, /give a shorter volumeId/],
    ['LIMIT', { mtimeSeconds: -1 }, /modification time is -1/],
    ['LIMIT', { mtimeSeconds: DEFAULT_TIME + 0.5 }, /modification time/],
    ['LIMIT', { mtimeSeconds: 2 ** 32 }, /modification time/],
    ['LIMIT', { mtimeSeconds: Number.NaN }, /modification time/],
    ['USAGE', { hybrid: 'nixpkgs' }, /needs isohdpfx\.bin of syslinux; give syslinux/],
    ['USAGE', { hybrid: 'mbr' as never }, /hybrid is 'mbr'; gpt, nixpkgs and none are known/],
    ['NOT_FOUND', { syslinux: '/nowhere' }, /isolinux\.bin/],
    ['NOT_FOUND', { efiBoot: '/nowhere' }, /\/nowhere/],
    ['NOT_FOUND', { specialisation: 'other' }, /there is no specialisation 'other'; there are: verbose/],
    ['USAGE', { compression: { name: 'zstd', level: 99 } }, /levels of zstd/],
    ['USAGE', { blockSize: 5000 }, /block size is 5000/],
    ['USAGE', { timeoutSeconds: -1 }, /timeout -1/],
    ['BAD_INPUT', { kernelParams: ['a\nb'] }, /control character/],
  ])('%s: %o', async (code, options, message) => {
    expect(await refused(options)).toMatchObject({ name: 'ImageError', code, message: expect.stringMatching(message) })
  })

  it('nothing of times that one of the formats can only bound', async () => {
    for (const mtimeSeconds of [0, 1, DEFAULT_TIME - 1, 2 ** 32 - 1]) expect(await refused({ mtimeSeconds })).toBe('made')
    for (const hybrid of ['gpt', 'none'] as const) expect(await refused({ hybrid })).toBe('made')
  })

  it('to be silent about a volume id that the system will not find', async () => {
    const notes = async (closure: IsoOptions, options: Partial<IsoOptions>): Promise<string[]> => {
      const events: ProgressEvent[] = []
      await iso({ ...closure, ...options, onProgress: (event) => events.push(event) })
      return events.flatMap((event) => (event.kind === 'note' ? [event.message] : []))
    }
    // This system is told by root=LABEL=, which the menu gives it.
    expect(await notes(base, { volumeId: 'OTHER' })).toEqual([])
    const told = await changedSystem('told', (system) => ({ ...system, kernelParams: ['root=LABEL=WANTED'] }))
    expect(await notes(told, {})).toEqual([])
    expect(await notes(told, { volumeId: 'OTHER' })).toEqual([
      "the volume id is 'OTHER', but the system looks for a medium named 'WANTED' and will not find this one",
    ])
  })
})

describe('a system', () => {
  it('without systemd-boot needs a boot program', async () => {
    const without = await changedSystem('no-boot', (system) => system)
    const program = 'systemd/lib/systemd/boot/efi/systemd-bootx64.efi'
    rmSync(systemdBoot(without))
    await expect(iso(without)).rejects.toMatchObject({
      code: 'NOT_FOUND',
      path: `${toplevel}/${program}`,
      message: `${toplevel}/${program}: the closure has no systemd-boot; give a UEFI boot program with efiBoot`,
    })
    expect((await iso({ ...without, efiBoot: systemdBoot(base) })).plan.uefi).toBe('systemd-boot')
  })

  it('of another CPU has its own boot program and no BIOS', async () => {
    const arm = await changedSystem('arm', (system) => ({ ...system, system: 'aarch64-linux' }))
    await expect(iso(arm)).rejects.toMatchObject({ code: 'NOT_FOUND', path: expect.stringMatching(/systemd-bootaa64\.efi$/) })
    await expect(iso({ ...arm, syslinux: '/usr/lib' })).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringContaining('has no BIOS'),
    })
    await expect(iso({ ...arm, efiBoot: systemdBoot(base) })).rejects.toMatchObject({
      code: 'BAD_INPUT',
      message: expect.stringContaining('aa64'),
    })
  })

  it('needs neither initrd nor version', async () => {
    const bare = await changedSystem('bare', ({ initrd: _, ...system }) => system)
    rmSync(join(bare.root ?? '', toplevel, 'nixos-version'))
    const { plan } = await iso(bare)
    expect(plan.volumeId).toBe('nixos-live-x86_64')
    const planned = plan.layout.files.map(({ path }) => path)
    expect(planned).not.toContain('/version.txt')
    const { image } = await build(bare)
    const entries = [...esp(image).files].filter(([path]) => path.includes('entries')).map(([, one]) => one.read().toString())
    expect(entries.filter((text) => !text.includes('\ninitrd '))).toHaveLength(entries.length / 2)
  })
})

/** The host path of a closure's systemd-boot; `systemd` in the system is a link into the store. */
function systemdBoot({ root = '' }: IsoOptions): string {
  return join(root, readlinkSync(join(root, toplevel, 'systemd')), 'lib/systemd/boot/efi/systemd-bootx64.efi')
}

/** The small closure with another boot.json; its hashes are not checked. */
async function changedSystem(name: string, change: (system: Record<string, unknown>) => object): Promise<IsoOptions> {
  const small = await unpackSmall(at(name))
  const folder = join(small.root, small.toplevel)
  runOk('chmod', ['-R', 'u+w', folder])
  const path = join(folder, 'boot.json')
  const document = JSON.parse(readFileSync(path, 'utf8'))
  document['org.nixos.bootspec.v1'] = change(document['org.nixos.bootspec.v1'])
  writeFileSync(path, JSON.stringify(document))
  return { ...base, closure: small.folder, root: small.root, verify: false }
}
