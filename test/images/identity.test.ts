/** Identifiers that stand for content are others for other content, and the same for the same. */
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { removeStore, type SmallClosure, unpackSmall } from '../../fixtures/unpack.ts'
import { deriveGuid, guidToText } from '../../src/bytes/guid.ts'
import { type OutputFormat, CONTAINERS as REGISTRY } from '../../src/disks/containers.ts'
import { qcow2, qcow2Compressed } from '../../src/disks/qcow2/index.ts'
import { convertDisk } from '../../src/images/disk/convert.ts'
import { type DiskOptions, disk } from '../../src/images/disk/index.ts'
import { diskIdentity } from '../../src/images/disk-identity.ts'
import { type ZfsOptions, zfs } from '../../src/images/zfs/index.ts'
import { bytesExtent, type Image, isGrowing } from '../../src/io/image.ts'
import { saveImage } from '../../src/io/output.ts'
import { FileSource } from '../../src/io/source.ts'
import { written } from '../disks/containers.ts'

const MEBIBYTE = 1 << 20
const folder = mkdtempSync(join(tmpdir(), 'kilnix-identity-'))
const at = (...names: string[]): string => join(folder, ...names)
afterAll(() => removeStore(folder))

let small: SmallClosure
beforeAll(async () => {
  small = await unpackSmall(at('closure'))
  writeFileSync(at('note'), 'one')
  writeFileSync(at('other-note'), 'two')
  writeFileSync(at('same-note'), 'one')
  mkdirSync(at('notes'))
  writeFileSync(at('notes', 'note'), 'one')
  for (const [name, text] of [
    ['over', 'one'],
    ['other-over', 'two'],
  ] as const) {
    mkdirSync(at(name, small.toplevel), { recursive: true })
    writeFileSync(at(name, small.toplevel, 'laid-over'), text)
  }
})

/** The GUID of a table (UEFI 2.10, table 5.5), in which all of a disk's identifiers can be seen. */
async function diskGuid(options: Partial<DiskOptions> = {}): Promise<string> {
  const base = { closure: small.folder, root: small.root, freeSize: 0, espSize: 20 * MEBIBYTE }
  const { image } = await disk({ ...base, ...options })
  if (isGrowing(image)) throw new Error('a disk with ext4 has a size')
  const header = Buffer.alloc(2 * 512)
  for (const extent of image.extents) {
    if (extent.start >= header.length) break
    for await (const chunk of extent.read()) header.set(chunk.subarray(0, header.length - extent.start), extent.start)
  }
  return guidToText(header.subarray(512 + 56, 512 + 72))
}

describe('an installed system', () => {
  it('has the same identifiers again, from another copy of its files', async () => {
    const added = (source: string): Partial<DiskOptions> => ({ add: [{ target: 'etc/note', source: at(source), mode: 0o600 }] })
    expect(await diskGuid()).toBe(await diskGuid())
    expect(await diskGuid(added('note'))).toBe(await diskGuid(added('same-note')))
    expect(await diskGuid({ jobs: 1, format: 'raw' })).toBe(await diskGuid())
    expect(await diskGuid({ seed: 'x' })).toBe(guidToText(deriveGuid('x', 'gpt disk')))
    expect(await diskGuid({ seed: 'x', ...added('note') })).toBe(await diskGuid({ seed: 'x' }))
  })

  it('has others with each thing that is another', async () => {
    const add = (target: string, source: string, mode = 0o600): Partial<DiskOptions> => ({ add: [{ target, source: at(source), mode }] })
    const guids = await Promise.all(
      [
        {},
        add('etc/note', 'note'),
        add('etc/note', 'other-note'),
        add('etc/note', 'note', 0o644),
        add('etc/notes', 'notes', 0o644),
        // Of a store path that is known by its hash.
        add(`${small.toplevel.slice(1)}/note`, 'note'),
        add(`${small.toplevel.slice(1)}/note`, 'other-note'),
        // The same by a folder that is laid over the whole system.
        add('/', 'over', 0o644),
        add('/', 'other-over', 0o644),
        { configuration: '{ }' },
        { kernelParams: ['quiet'] },
        { timeoutSeconds: 1 },
        { label: 'other' },
        { freeSize: MEBIBYTE },
        { espSize: 21 * MEBIBYTE },
        { mtimeSeconds: 1_000_000_000 },
        { rootUuid: '01234567-89AB-CDEF-0123-456789ABCDEF' },
        { layout: 'hybrid' as const },
        { bootLoader: 'none' as const },
        { provenance: true, closure: join(small.folder, 'path-info.json') },
        { seed: '' },
      ].map((options) => diskGuid(options)),
    )
    // The small closure was made here: it has no derivers that provenance could keep.
    expect(new Set(guids).size).toBeGreaterThanOrEqual(guids.length - 1)
  })

  it('is a pool of its own by its name, its datasets, its properties and its files', async () => {
    const base: ZfsOptions = { closure: small.folder, root: small.root, bootSize: 'auto', rootSize: 'auto', freeSize: 0 }
    const guid = async (options: Partial<ZfsOptions>): Promise<string> => (await zfs({ ...base, ...options })).plan.poolGuid
    const options: Partial<ZfsOptions>[] = [
      {},
      { pool: 'pond' },
      { datasets: [{ name: 'tank/root', mount: '/' }] },
      { fileSystemProperties: { compression: 'zstd' } },
      { poolProperties: { ashift: '13' } },
      { rootSize: 256 * MEBIBYTE },
      { layout: 'single-disk' },
      { add: [{ target: 'etc/note', source: at('note') }] },
      { snapshots: [{ dataset: 'tank/system/root', name: 'blank', state: 'empty' }] },
    ]
    const guids: string[] = []
    for (const one of options) guids.push(await guid(one))
    expect(new Set(guids).size).toBe(options.length)
    expect(await guid({ format: 'qcow2' })).toBe(guids[0])
  }, 20_000)
})

describe('a disk that is converted', () => {
  const disks = {
    one: { size: 4 * MEBIBYTE, extents: [bytesExtent(5000, Buffer.from('one'))] },
    two: { size: 4 * MEBIBYTE, extents: [bytesExtent(5000, Buffer.from('two'))] },
    moved: { size: 4 * MEBIBYTE, extents: [bytesExtent(15_000, Buffer.from('one'))] },
    longer: { size: 5 * MEBIBYTE, extents: [bytesExtent(5000, Buffer.from('one'))] },
  }
  beforeAll(async () => {
    for (const [name, image] of Object.entries(disks)) {
      await saveImage(image, at(`${name}.img`))
      await saveImage(qcow2(image), at(`${name}.qcow2`))
    }
  })
  const converted = async (input: string, format: OutputFormat): Promise<Buffer> => {
    const made = await convertDisk({ input: at(input), format, fileName: 'disk' })
    try {
      const memory = await written(made.image)
      return Buffer.from(await memory.read(0, memory.size))
    } finally {
      await made.close()
    }
  }

  it.each(REGISTRY.list.filter(({ hasIdentifiers }) => hasIdentifiers).map(({ name }) => name as OutputFormat))(
    '%s: has identifiers by what it holds, and not by the name or container that it had',
    async (format) => {
      const one = await converted('one.img', format)
      expect(one.equals(await converted('one.qcow2', format))).toBe(true)
      const two = await converted('two.img', format)
      // More than the three letters, and the checksums over them, differ.
      const differing = one.filter((byte, index) => byte !== two[index]).length
      expect(differing).toBeGreaterThan(3)
    },
  )

  it('is seen by content, place and size, and not by how it is cut', async () => {
    const identities = await Promise.all(Object.values(disks).map((image: Image) => diskIdentity(image)))
    expect(new Set(identities).size).toBe(4)
    const noise = Buffer.from(Array.from({ length: 20_000 }, (_, index) => (index * index) % 251))
    const cut = (...places: readonly number[]): Image => ({
      size: MEBIBYTE,
      extents: places.map((place, index) => bytesExtent(1000 + place, noise.subarray(place, places[index + 1] ?? noise.length))),
    })
    const padded: Image = { size: MEBIBYTE, extents: [bytesExtent(0, Buffer.concat([Buffer.alloc(1000), noise, Buffer.alloc(300_000)]))] }
    // Over the end of a region, and by threads.
    const large: Image = {
      size: 160 * MEBIBYTE,
      extents: [
        bytesExtent(1000, Buffer.alloc(40 * MEBIBYTE, 'abc')),
        bytesExtent(64 * MEBIBYTE - 1001, Buffer.alloc(3000, 'over the end')),
        bytesExtent(128 * MEBIBYTE, Buffer.from('at a beginning')),
      ],
    }
    await saveImage(large, at('large.img'), { digest: false })
    const wanted = await diskIdentity(large)
    for (const [name, write] of [
      ['large.qcow2', qcow2],
      ['large-small.qcow2', (image: Image) => qcow2(image, { clusterSize: 512 })],
      ['large-packed.qcow2', qcow2Compressed],
    ] as const) {
      await saveImage(write(large), at(name), { digest: false })
    }
    for (const name of ['large.img', 'large.qcow2', 'large-small.qcow2', 'large-packed.qcow2']) {
      const source = await FileSource.open(at(name))
      for (const jobs of [1, 3]) expect(await diskIdentity((await REGISTRY.open(source)).image, { jobs }), name).toBe(wanted)
      await source.close()
    }
    const same = await Promise.all([cut(0), cut(0, 1), cut(0, 3096, 7192), cut(0, 5000, 5001), padded].map((image) => diskIdentity(image)))
    expect(new Set(same).size).toBe(1)
  })
})
