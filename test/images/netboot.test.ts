/** The recipe of network boot on the small closure: what is planned, what is refused, and what is read back. */
import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { removeStore, unpackSmall } from '../../fixtures/unpack.ts'
import type { CodecSpec } from '../../src/codecs/codec.ts'
import { type NetbootOptions, netboot } from '../../src/images/netboot/index.ts'
import { saveProduct } from '../../src/images/save.ts'
import type { ProgressEvent } from '../../src/io/progress.ts'
import { runOk } from '../oracles/tools.ts'
import { readCpio } from '../readers/cpio-reader.ts'
import { readInitrd, unpackedInitrd } from '../readers/initrd-reader.ts'
import { sectionContent } from '../readers/pe-reader.ts'
import { bytesSource, readSquashfs } from '../readers/squashfs-reader.ts'
import { readTar } from '../readers/tar-reader.ts'

let work: string
let base: NetbootOptions & { readonly closure: string }
let toplevel: string
let storePaths: readonly string[]
const at = (...names: string[]): string => join(work, ...names)

beforeAll(async () => {
  work = await mkdtemp(join(tmpdir(), 'kilnix-netboot-'))
  const small = await unpackSmall(at('closure'))
  base = { closure: small.folder, root: small.root, compression: { name: 'zstd', level: 1 }, blockSize: 131072 }
  toplevel = small.toplevel
  storePaths = [...small.storePaths].sort()
})
afterAll(() => removeStore(work))

let count = 0
interface Built {
  readonly folder: string
  readonly reused: number
  readonly built: number
  read(name: string): Buffer
}

async function build(options: Partial<NetbootOptions> = {}, jobs = 2, kexec?: CodecSpec): Promise<Built> {
  const folder = at(`out-${count++}`)
  const product = await netboot({ ...base, ...options, ...(kexec && { kexec: true, kexecCompression: kexec }) })
  await saveProduct(product, folder, { jobs, ...(options.onProgress && { onProgress: options.onProgress }) })
  const reused = product.pieces().filter((piece) => piece.reused).length
  return { folder, reused, built: product.pieces().length - reused, read: (name) => readFileSync(join(folder, name)) }
}

const hostFile = (path: string): Buffer => readFileSync(join(base.root ?? '', path))
const ownInitrd = (): Buffer => hostFile(`${storePaths.find((path) => path.includes('-initrd-'))}/initrd`)

describe('the plan', () => {
  it('is plain data', async () => {
    const { plan, inputs } = await netboot(base)
    expect(JSON.parse(JSON.stringify(plan))).toEqual(plan)
    expect(plan).toMatchObject({
      style: 'single',
      toplevel,
      system: 'x86_64-linux',
      kernel: 'bzImage',
      initrds: ['initrd'],
      pathCount: storePaths.length,
      verified: true,
      compression: { name: 'zstd', level: 1 },
      initrdCompression: { name: 'none' },
    })
    expect(plan.parameters.startsWith(`init=${toplevel}/init `)).toBe(true)
    for (const path of storePaths) expect(inputs).toContain(join(base.root ?? '', path))
  })

  it('starts the system of a specialisation, with further parameters', async () => {
    const { plan } = await netboot({ ...base, specialisation: 'verbose', kernelParams: ['console=tty1'], style: 'manifest' })
    expect(plan).toMatchObject({ specialisation: 'verbose', initrds: ['initrd', 'manifest', 'nix-store'] })
    expect(plan.parameters).toMatch(/^init=\/nix\/store\/\S+verbose\S*\/init .*small\.verbose.* console=tty1$/)
  })

  it('tells the kernel to start the system itself in the per-path style', async () => {
    const { plan } = await netboot({ ...base, style: 'per-path' })
    expect(plan.parameters.startsWith(`rdinit=${toplevel}/init `)).toBe(true)
    expect((await netboot({ ...base, style: 'per-path', compression: undefined } as never)).plan.compression).toEqual({
      name: 'zstd',
      level: 10,
    })
  })

  it.each<[string, Partial<NetbootOptions>, object]>([
    ['an unknown style', { style: 'grahamc' as never }, { code: 'USAGE', message: /single, manifest, per-path/ }],
    ['a specialisation that is not there', { specialisation: 'x' }, { code: 'NOT_FOUND', message: /there are: verbose/ }],
    ['a parameter that iPXE would replace', { kernelParams: [`a=${'$'}{b}`] }, { code: 'BAD_INPUT', message: /\$\{b\}/ }],
    ['more parameters than the kernel takes', { kernelParams: ['x'.repeat(2048)] }, { code: 'LIMIT' }],
    ['an archive that is not there', { prepend: ['/nonexistent/x'] }, { code: 'NOT_FOUND' }],
    ['a closure that is not there', { closure: '/nonexistent/x' }, { code: 'NOT_FOUND' }],
  ])('refuses %s', async (_what, options, error) => {
    await expect(netboot({ ...base, ...options })).rejects.toMatchObject(error)
  })
})

describe('the single style', () => {
  it('is the own initrd and an archive with the squashfs, aligned and not compressed again', async () => {
    const { read, folder } = await build()
    expect(readdirSync(folder).sort()).toEqual(['bzImage', 'initrd', 'netboot.ipxe'])
    expect(read('bzImage')).toEqual(hostFile(`${storePaths.find((path) => /^.{43}-linux-/.test(path))}/bzImage`))
    const own = ownInitrd()
    const initrd = read('initrd')
    expect(initrd.subarray(0, own.length).equals(own)).toBe(true)
    const start = Math.ceil(own.length / 4) * 4
    expect(initrd.subarray(own.length, start).every((byte) => byte === 0)).toBe(true)
    const [member, ...more] = readCpio(initrd.subarray(start))
    expect(more).toEqual([])
    expect(member?.entries.map(({ name }) => name.toString())).toEqual(['nix-store.squashfs'])
    const image = readSquashfs(bytesSource(member?.entries[0]?.data ?? Buffer.alloc(0)))
    const names = [...storePaths.map((path) => path.slice('/nix/store/'.length)), 'nix-path-registration']
    expect([...image.root.children.keys()]).toEqual(names.sort())
    const script = read('netboot.ipxe').toString().split('\n')
    expect(script[0]).toBe('#!ipxe')
    expect(script.filter((line) => line.startsWith('initrd'))).toEqual(['initrd initrd'])
    expect(script.find((line) => line.startsWith('kernel '))).toMatch(
      new RegExp(`^kernel bzImage init=${toplevel}/init initrd=initrd .* \\$\\{cmdline\\}$`),
    )
  })

  it('may be compressed again, and have archives before all others', async () => {
    const microcode = join(work, 'microcode.img')
    const { read: other } = await build({ style: 'per-path', compression: { name: 'none' } })
    writeFileSync(microcode, other('initrd').subarray(0, readCpio(other('initrd'))[0]?.end))
    const { read } = await build({ prepend: [microcode], initrdCompression: { name: 'zstd', level: 1 } })
    const members = readInitrd(read('initrd'))
    expect(members[0]).toMatchObject({ start: 0, codec: 'none' })
    expect(members.at(-1)?.codec).toBe('zstd')
    expect(members.at(-1)?.entries.map(({ name }) => name.toString())).toEqual(['nix-store.squashfs'])
  })

  it('takes the whole store from a folder of pieces when nothing has changed', async () => {
    const plain = await build()
    const pieces = at('pieces-single')
    const first = await build({ pieces })
    const second = await build({ pieces })
    expect([first.built, first.reused, second.built, second.reused]).toEqual([1, 0, 0, 1])
    for (const { read } of [first, second]) expect(read('initrd').equals(plain.read('initrd'))).toBe(true)
    expect((await build({ pieces, blockSize: 65536 })).built).toBe(1)
  })
})

describe('the manifest style', () => {
  it('has a squashfs a store path where the list says, and the registration', async () => {
    const { read } = await build({ style: 'manifest' })
    expect(read('initrd').equals(ownInitrd())).toBe(ownInitrd().length % 4 === 0)
    expect(read('initrd').subarray(0, ownInitrd().length).equals(ownInitrd())).toBe(true)
    const manifest = unpackedInitrd(readInitrd(read('manifest')))
    const target = manifest.get('nix-store-squashes')?.data.toString() ?? ''
    expect(target).toMatch(/^\/nix\/store\/[0-9a-z]{32}-squashes$/)
    expect(manifest.get(`${target.slice(1)}/registration.gz`)?.data.at(9)).toBe(255)
    expect(gunzipSync(manifest.get(`${target.slice(1)}/registration.gz`)?.data ?? Buffer.alloc(0))).toEqual(
      readFileSync(join(base.closure, 'registration')),
    )
    const lines = (manifest.get(`${target.slice(1)}/squashes`)?.data.toString() ?? '').split('\n')
    expect(lines.pop()).toBe('')
    expect(lines).toHaveLength(storePaths.length)
    const store = unpackedInitrd(readInitrd(read('nix-store')))
    for (const [index, line] of lines.entries()) {
      expect(line[20]).toBe(' ')
      expect(line.replace(' ', '')).not.toContain(' ')
      const path = line.replace(' ', '')
      const [, prefix = '', rest = ''] = /\/([^/]{8})\/([^/]+)$/.exec(path) ?? []
      expect(`/nix/store/${prefix}${rest}`).toBe(storePaths[index])
      const squashfs = store.get(path.slice(1))
      const image = readSquashfs(bytesSource(squashfs?.data ?? Buffer.alloc(0)))
      expect([...image.root.children.keys()]).toEqual([`${prefix}${rest}`])
    }
    const script = read('netboot.ipxe').toString()
    expect(script).toContain(' initrd=initrd initrd=manifest initrd=nix-store ')
    expect(script.split('\n').filter((line) => line.startsWith('initrd'))).toEqual(['initrd initrd', 'initrd manifest', 'initrd nix-store'])
  })
})

describe('the per-path style', () => {
  it('has an archive a store path with every file of it, and the registration', async () => {
    const { read } = await build({ style: 'per-path' })
    const members = readInitrd(read('initrd'))
    expect(members).toHaveLength(1 + storePaths.length)
    expect(new Set(members.map(({ codec }) => codec))).toEqual(new Set(['zstd']))
    for (const [index, path] of storePaths.entries()) {
      const names = members[index + 1]?.entries.map(({ name }) => name.toString('latin1')) ?? []
      expect(names[0]).toBe(path.slice(1))
      for (const name of names.slice(1)) expect(name.startsWith(`${path.slice(1)}/`)).toBe(true)
    }
    const unpacked = unpackedInitrd(members)
    expect(unpacked.get('nix/store')).toMatchObject({ mode: 0o41775, uid: 0, gid: 30000 })
    expect(unpacked.get('nix/store/nix-path-registration')?.data).toEqual(readFileSync(join(base.closure, 'registration')))
    expect(unpacked.get('nix/.nix-netboot-serve-db/register')).toMatchObject({ mode: 0o100555 })
    for (const [name, entry] of unpacked) {
      if (!name.startsWith('nix/store/') || (entry.mode & 0o170000) !== 0o100000 || name.endsWith('registration')) continue
      const host = Buffer.concat([Buffer.from(`${base.root}/`), entry.name])
      expect(entry.data.equals(readFileSync(host)), name).toBe(true)
      expect(entry, name).toMatchObject({ mode: statSync(host).mode, uid: 0, gid: 0, mtime: 1 })
    }
  })

  it('builds what has changed, and only that', async () => {
    const pieces = at('pieces')
    const first = await build({ style: 'per-path', pieces })
    expect([first.built, first.reused]).toEqual([storePaths.length, 0])
    const files = readdirSync(pieces)
    expect(files).toHaveLength(storePaths.length)
    rmSync(join(pieces, files[3] ?? ''))
    const notes: string[] = []
    const damaged = join(pieces, files[5] ?? '')
    const bytes = readFileSync(damaged)
    bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1
    writeFileSync(damaged, bytes)
    const onProgress = (event: ProgressEvent): void => {
      if (event.kind === 'note') notes.push(event.message)
    }
    const second = await build({ style: 'per-path', pieces, onProgress })
    expect([second.built, second.reused]).toEqual([2, storePaths.length - 2])
    expect(notes).toEqual([expect.stringContaining(files[5] ?? '')])
    expect(second.read('initrd').equals(first.read('initrd'))).toBe(true)
    expect((await build({ style: 'per-path', pieces, piecesLimit: 0 })).reused).toBe(storePaths.length)
    expect(readdirSync(pieces)).toHaveLength(storePaths.length)
    await build({ style: 'per-path', pieces, piecesLimit: 0, compression: { name: 'gzip', level: 1 } })
    expect(readdirSync(pieces)).toHaveLength(storePaths.length)
  })
})

describe('kexec', () => {
  it('has a script beside kernel and initrd, and a tarball of the three', async () => {
    const { read, folder } = await build({ style: 'manifest' }, 2, { name: 'gzip', level: 1 })
    expect(readdirSync(folder).sort()).toEqual(['bzImage', 'initrd', 'kexec', 'kexec.tar.gz', 'manifest', 'netboot.ipxe', 'nix-store'])
    expect(statSync(join(folder, 'kexec/kexec-boot')).mode & 0o777).toBe(0o755)
    expect(statSync(join(folder, 'kexec/bzImage')).ino).toBe(statSync(join(folder, 'bzImage')).ino)
    const together = unpackedInitrd(readInitrd(read('kexec/initrd.gz')))
    for (const name of ['init', 'nix-store-squashes']) expect(together.has(name), name).toBe(true)
    expect(read('kexec/kexec-boot').toString()).toContain(`init=${toplevel}/init`)
    const members = readTar(gunzipSync(read('kexec.tar.gz')))
    expect(members.map(({ path }) => path.toString())).toEqual([
      'kexec/',
      'kexec/bzImage',
      'kexec/initrd.gz',
      'kexec/kexec-boot',
      'kexec_nixos',
    ])
    expect(members[4]?.linkTarget.toString()).toBe('kexec/kexec-boot')
    expect(members[2]?.content.equals(read('kexec/initrd.gz'))).toBe(true)
    const names = (await netboot(base)).replaceable
    for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' })) if (name !== 'kexec') expect(names).toContain(name)
  })

  it('is one file with the initrd where there is one', async () => {
    const { folder } = await build({}, 2, { name: 'none' })
    expect(statSync(join(folder, 'kexec/initrd.gz')).ino).toBe(statSync(join(folder, 'initrd')).ino)
    expect(existsSync(join(folder, 'kexec.tar'))).toBe(true)
  })
})

describe('a unified kernel image', () => {
  it.each(['single', 'manifest', 'per-path'] as const)('is all that iPXE loads, in one program: %s', async (style) => {
    const { read, folder } = await build({ style, uki: true, kernelParams: ['console=ttyS0'] })
    const program = read('netboot.efi')
    const { plan, replaceable } = await netboot({ ...base, style, kernelParams: ['console=ttyS0'] })
    expect(sectionContent(program, '.cmdline')?.toString()).toBe(plan.parameters)
    expect(sectionContent(program, '.linux')?.subarray(0, read('bzImage').length).equals(read('bzImage'))).toBe(true)
    expect(sectionContent(program, '.osrel')?.toString()).toContain(`PRETTY_NAME="${plan.label}"`)
    let initrds = Buffer.alloc(0)
    for (const name of plan.initrds) initrds = Buffer.concat([initrds, Buffer.alloc((4 - (initrds.length % 4)) % 4), read(name)])
    expect(sectionContent(program, '.initrd')?.equals(initrds)).toBe(true)
    expect(replaceable).toEqual(expect.arrayContaining(readdirSync(folder)))
    // The others are the same files.
    expect((await build({ style, kernelParams: ['console=ttyS0'] })).read('initrd').equals(read('initrd'))).toBe(true)
  })

  it('needs the stub of systemd', async () => {
    const small = await unpackSmall(at('no-stub'))
    const [systemd = ''] = small.storePaths.filter((path) => path.includes('-systemd-'))
    runOk('chmod', ['-R', 'u+w', join(small.root, systemd)])
    rmSync(join(small.root, systemd, 'lib/systemd/boot/efi/linuxx64.efi.stub'))
    const without = { ...base, closure: small.folder, root: small.root, verify: false }
    await expect(netboot({ ...without, uki: true })).rejects.toMatchObject({
      code: 'NOT_FOUND',
      message: expect.stringContaining('linuxx64.efi.stub: the closure has no EFI stub of systemd'),
    })
    expect((await netboot(without)).plan.style).toBe('single')
  })
})

describe('the same input', () => {
  it.each(['single', 'manifest', 'per-path'] as const)('gives the same bytes with any number of workers: %s', async (style) => {
    const [one, many] = [await build({ style }, 1), await build({ style }, 5)]
    for (const name of readdirSync(one.folder)) expect(many.read(name).equals(one.read(name)), name).toBe(true)
  })
})
