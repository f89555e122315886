/** The registry of containers: a container that is added to it is known everywhere, and nothing else lists them. */
import { globSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { removeStore, type SmallClosure, unpackSmall } from '../../fixtures/unpack.ts'
import { main } from '../../src/cli/main.ts'
import { CONTAINERS } from '../../src/disks/containers.ts'
import { convertDisk } from '../../src/images/disk/convert.ts'
import { disk } from '../../src/images/disk/index.ts'
import { zfs } from '../../src/images/zfs/index.ts'
import { ZFS_FILE_NAMES, ZFS_FORMATS } from '../../src/images/zfs/names.ts'
import { isGrowing } from '../../src/io/image.ts'
import { saveImage } from '../../src/io/output.ts'
import { bytesSource } from '../../src/io/source.ts'
import { MADE_UP, MAGIC } from './made-up.ts'

/** What everything is given in place of the registry: the same, and a container that no list in `src` can know. */
vi.mock('../../src/disks/containers.ts', async (importOriginal) => {
  const original = await importOriginal<typeof import('../../src/disks/containers.ts')>()
  const { containerRegistry } = await import('../../src/disks/container.ts')
  const { MADE_UP } = await import('./made-up.ts')
  return { CONTAINERS: containerRegistry([...original.CONTAINERS.list, MADE_UP]) }
})

const format = MADE_UP.name as 'raw'

const folder = mkdtempSync(join(tmpdir(), 'kilnix-registry-'))
const at = (name: string): string => join(folder, name)
let small: SmallClosure
beforeAll(async () => {
  small = await unpackSmall(at('closure'))
})
afterAll(() => removeStore(folder))

const MEBIBYTE = 1 << 20
const content = Buffer.alloc(MEBIBYTE, 'a disk')

describe('a container that is added to the registry', () => {
  it('is known by its name, its endings and its mark', async () => {
    expect(CONTAINERS.outputFormats).toContain(format)
    expect(CONTAINERS.inputFormats).toContain(format)
    expect(CONTAINERS.formatOfName('Disk.MUD')).toBe(format)
    expect(CONTAINERS.fileName('disk', format)).toBe('disk.muddy')
    expect(await CONTAINERS.probe(bytesSource(Buffer.from(`${MAGIC}...`)))).toBe(format)
  })

  it('is what convert writes and reads', async () => {
    writeFileSync(at('raw'), content)
    const converted = await convertDisk({ input: at('raw'), format, fileName: 'disk', compression: { name: 'zstd' } })
    await saveImage(converted.image, at('converted'))
    await converted.close()
    expect(readFileSync(at('converted'))).toEqual(Buffer.concat([Buffer.from(MAGIC), content]))
    const back = await convertDisk({ input: at('converted'), format: 'raw', fileName: 'disk' })
    expect(back.plan).toMatchObject({ inputFormat: format, diskSize: MEBIBYTE })
    await saveImage(back.image, at('back'))
    await back.close()
    expect(readFileSync(at('back'))).toEqual(content)
  })

  it('is what disk and zfs put their disks in', async () => {
    const store = { closure: small.folder, root: small.root }
    const [raw, own] = [await disk(store), await disk({ ...store, format })]
    if (isGrowing(raw.image) || isGrowing(own.image)) throw new Error('an ext4 disk knows its size')
    expect(own.image.size).toBe(raw.image.size + MAGIC.length)
    expect(own.plan.format).toBe(format)
    expect(ZFS_FORMATS).toContain(format)
    expect(ZFS_FILE_NAMES).toContain('nixos.root.muddy')
    const pool = await zfs({ ...store, format })
    expect(pool.plan.files).toEqual(['nixos.boot.muddy', 'nixos.root.muddy'])
  })

  it('is known to the command, by name and by the ending of a file', async () => {
    writeFileSync(at('raw'), content)
    expect(await main(['convert', at('raw'), '-o', at('named'), '--format', format, '--quiet'])).toBe(0)
    expect(await main(['convert', at('named'), '-o', at('ending.mud'), '--input-format', format, '--quiet'])).toBe(0)
    expect(readFileSync(at('ending.mud'))).toEqual(readFileSync(at('named')))
    rmSync(at('named'))
  })
})

describe('containers', () => {
  it.each(CONTAINERS.list)('$name is described, and can be written or read', ({ name, about, endings, writer, read }) => {
    expect(about).toMatch(/^[^\n]{5,100}$/)
    expect(endings.length).toBeGreaterThan(0)
    for (const ending of endings) expect(ending).toMatch(/^[a-z0-9]+(\.[a-z0-9]+)*$/)
    expect(writer ?? read).toBeDefined()
    expect(CONTAINERS.list.filter((other) => other.name === name)).toHaveLength(1)
  })

  it('refuse what they are not, before a byte is made', async () => {
    const options = { seed: 's', fileName: 'x' }
    const empty = { size: 512, extents: [] }
    const write = async (name: string, compression: 'gzip' | 'xz' | 'zstd') =>
      (await CONTAINERS.writer(name as 'raw'))(empty, { ...options, compression: { name: compression } })
    await expect(write('nothing', 'gzip')).rejects.toMatchObject({ code: 'USAGE', message: expect.stringContaining('raw, qcow2') })
    await expect(write('vdi', 'gzip')).rejects.toMatchObject({ code: 'USAGE', message: expect.stringContaining('qcow2-compressed') })
    await expect(write('qcow2-compressed', 'xz')).rejects.toMatchObject({ code: 'UNSUPPORTED', message: expect.stringContaining('zstd') })
    await expect(write('ova', 'zstd')).rejects.toMatchObject({ code: 'UNSUPPORTED', message: expect.stringContaining('gzip') })
    await expect(CONTAINERS.open(bytesSource(content), 'raw.tar.gz' as 'raw')).rejects.toMatchObject({ code: 'USAGE' })
  })

  it.each([
    ['gzip', '\x1f\x8b\x08', 0],
    ['zstd', '\x28\xb5\x2f\xfd', 0],
    ['xz', '\xfd7zXZ\0', 0],
    ['bzip2', 'BZh91AY', 0],
    ['lz4', '\x04\x22\x4d\x18', 0],
    ['a zip archive', 'PK\x03\x04', 0],
    ['a QED disk', 'QED\0', 0],
    ['a Parallels disk', 'WithoutFreeSpace', 0],
    ['a Parallels disk', 'WithouFreSpacExt', 0],
    ['a disk of Bochs', 'Bochs Virtual HD Image\0', 0],
    ['a cloop image', '#!/bin/sh\n#V2.0 Format\nmodprobe cloop', 0],
    ['encrypted by LUKS', 'LUKS\xba\xbe\0\x02', 0],
    ['a disk image of macOS', 'koly\0\0\0\x04', 4096 - 512],
    ['a tar archive', 'ustar', 257],
  ])('of others are no raw disks: %s', async (what, text, position) => {
    const bytes = Buffer.alloc(4096)
    bytes.write(text, position, 'latin1')
    await expect(CONTAINERS.probe(bytesSource(bytes))).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      message: expect.stringMatching(new RegExp(`the input is (compressed by )?${what}.* is read with inputFormat raw`)),
    })
    expect((await CONTAINERS.open(bytesSource(bytes), 'raw')).image.size).toBe(4096)
  })

  it('whose marks are gone are no raw disks either, when their names say what they were', async () => {
    writeFileSync(at('cut.vhd'), content)
    await expect(convertDisk({ input: at('cut.vhd'), fileName: 'x' })).rejects.toMatchObject({
      code: 'BAD_INPUT',
      message: expect.stringMatching(/cut\.vhd: its name says vhd, and nothing in it does.*inputFormat raw/),
    })
    const asRaw = await convertDisk({ input: at('cut.vhd'), inputFormat: 'raw', fileName: 'x' })
    expect(asRaw.plan.diskSize).toBe(MEBIBYTE)
    await asRaw.close()
  })

  it('are told apart where two have the same mark, and the beginning counts before the end', async () => {
    const named = (first: string): Buffer => {
      const bytes = Buffer.alloc(2048)
      bytes.write(first)
      bytes.write('ustar', 257)
      return bytes
    }
    expect(await CONTAINERS.probe(bytesSource(named('x.OVF')))).toBe('ova')
    await expect(CONTAINERS.probe(bytesSource(named('x.raw')))).rejects.toMatchObject({ code: 'UNSUPPORTED' })
    const bytes = Buffer.alloc(2048)
    bytes.write('conectix', 2048 - 512)
    expect(await CONTAINERS.probe(bytesSource(bytes))).toBe('vhd')
    bytes.write('KDMV')
    expect(await CONTAINERS.probe(bytesSource(bytes))).toBe('vmdk')
    expect(await CONTAINERS.probe(bytesSource(new Uint8Array(0)))).toBe('raw')
  })
})

const SOURCE = join(import.meta.dirname, '../../src')

/** Lines that know containers by name: one that compares with a name, and any that lists them. */
function linesWithNames(text: string): string[] {
  const names = CONTAINERS.list.map(({ name }) => name.replaceAll('.', '\\.'))
  const quoted = new RegExp(`'(${names.filter((name) => name !== 'raw').join('|')})'`)
  const word = new RegExp(`(?<![\\w.-])(${names.join('|')})(?![\\w-]|\\.\\w)`, 'g')
  return text.split('\n').filter((line) => quoted.test(line) || new Set(line.match(word)).size > 2)
}

describe('names of containers', () => {
  it('stand in their folders alone, and in presets, each of which chooses one', () => {
    const presets = globSync('images/*/presets.ts', { cwd: SOURCE })
    expect(presets.length).toBeGreaterThan(0)
    const others = globSync('**/*.ts', { cwd: SOURCE, exclude: ['disks/*/**'] }).filter((file) => !presets.includes(file))
    const found = others.flatMap((file) => linesWithNames(readFileSync(join(SOURCE, file), 'utf8')).map((line) => `${file}: ${line}`))
    expect(found).toEqual([])
  })

  it('are found', () => {
    expect(linesWithNames("if (format === 'vhd-fixed') return\nconst a = 'raw'\n/** raw, qcow2 or ova */\n'raw.tar.gz'")).toEqual([
      "if (format === 'vhd-fixed') return",
      '/** raw, qcow2 or ova */',
      "'raw.tar.gz'",
    ])
  })
})

describe('loading the registry', () => {
  it('loads no format', async () => {
    const files = globSync('disks/{*.ts,*/container.ts}', { cwd: SOURCE })
    const imports = files.flatMap((file) => {
      const text = readFileSync(join(SOURCE, file), 'utf8')
      return [...text.matchAll(/^(import (?!type ).*from '(.*)')$/gm)].map(([, , path]) => path)
    })
    expect(imports.length).toBeGreaterThan(10)
    expect(imports.filter((path) => !/(^|\/)(container|machine|sectors)\.ts$|^\.\.\/errors\.ts$/.test(path ?? ''))).toEqual([])
  })
})
