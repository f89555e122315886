/** The recipe of ZFS disks on the small closure: what is planned, what is refused, and what other people's tools read back. */
import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { removeStore, type SmallClosure, unpackSmall } from '../../fixtures/unpack.ts'
import type { Product } from '../../src/images/product.ts'
import { type ZfsDisksPlan, type ZfsOptions, zfs } from '../../src/images/zfs/index.ts'
import { saveImage } from '../../src/io/output.ts'
import { oracle, runOk } from '../oracles/tools.ts'
import { fromBytes, readFat } from '../readers/fat-reader.ts'
import { type PartitionTable, tableOf } from './disk-support.ts'
import { imageFiles } from './image-files.ts'

const MEBIBYTE = 1 << 20

let folder: string
let small: SmallClosure
let base: ZfsOptions
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kilnix-zfs-'))
  small = await unpackSmall(join(folder, 'closure'))
  base = { closure: small.folder, root: small.root, bootSize: 24 * MEBIBYTE, rootSize: 256 * MEBIBYTE }
})
afterAll(() => removeStore(folder))

interface Built extends Pick<Product<ZfsDisksPlan>, 'plan'> {
  readonly files: readonly string[]
}

async function build(options: Partial<ZfsOptions> = {}, name = 'built'): Promise<Built> {
  const place = join(folder, name)
  rmSync(place, { recursive: true, force: true })
  mkdirSync(place)
  const made = await zfs({ ...base, ...options })
  const files: string[] = []
  for (const { path: file, image } of await imageFiles(made)) {
    files.push(join(place, file))
    await saveImage(image, join(place, file), { jobs: 2, digest: false })
  }
  return { plan: made.plan, files }
}

const planOf = async (options: Partial<ZfsOptions> = {}) => (await zfs({ ...base, ...options })).plan
const refused = (options: Partial<ZfsOptions>) =>
  zfs({ ...base, ...options })
    .then(() => undefined)
    .catch((error: unknown) => error)

describe('the plan', () => {
  it('is plain data and says what comes to lie where', async () => {
    const plan = await planOf()
    expect(JSON.parse(JSON.stringify(plan))).toEqual(plan)
    expect(plan).toMatchObject({
      toplevel: small.toplevel,
      layout: 'two-disk',
      format: 'raw',
      bootLoader: 'systemd-boot',
      files: ['nixos.boot.img', 'nixos.root.img'],
      bootSize: 24 * MEBIBYTE,
      rootDiskSize: 256 * MEBIBYTE,
      pool: 'tank',
      compatibility: 'openzfs-2.1-linux',
      pathCount: 14,
      verified: true,
    })
  })

  it("has nixpkgs' datasets and properties where nobody says", async () => {
    const { datasets } = await planOf()
    expect(datasets.map(({ name, mount }) => `${name} ${mount}`)).toEqual([
      'tank undefined',
      'tank/local undefined',
      'tank/local/nix /nix',
      'tank/user undefined',
      'tank/user/home /home',
      'tank/system undefined',
      'tank/system/var /var',
      'tank/system/root /',
    ])
    expect(datasets[0]?.properties).toBe('acltype=posixacl,atime=off,compression=on,mountpoint=legacy,xattr=sa')
  })

  it('takes the datasets that are given, and the pool from them', async () => {
    const plan = await planOf({
      datasets: [
        { name: 'rpool/a', mount: '/' },
        { name: 'rpool/b', mount: '/nix', properties: { compression: 'zstd-3' } },
      ],
      fileSystemProperties: { atime: 'on' },
      snapshots: [
        { dataset: 'rpool/a', name: 'blank', state: 'empty' },
        { dataset: 'rpool/a', name: 'full', state: 'populated' },
      ],
    })
    expect(plan.pool).toBe('rpool')
    expect(plan.datasets).toMatchObject([
      { name: 'rpool', properties: 'acltype=posixacl,atime=on,compression=on,mountpoint=legacy,xattr=sa' },
      { name: 'rpool/a', snapshots: 'blank,full' },
      { name: 'rpool/b', properties: 'compression=zstd-3' },
    ])
  })

  it('depends on the seed', async () => {
    const [one, again, other] = await Promise.all([planOf(), planOf(), planOf({ seed: 'x' })])
    expect(again).toEqual(one)
    expect(other.poolGuid).not.toBe(one.poolGuid)
  })
})

describe('what is refused', () => {
  it.each<[Partial<ZfsOptions>, string, RegExp]>([
    [{ bootSize: 2 * MEBIBYTE }, 'LIMIT', /bootSize is 2097152 bytes/],
    [
      { bootSize: 4 * MEBIBYTE },
      'LIMIT',
      /ESP has 1048576 bytes.*bootSize \d+M or more, which leaves room for the next system \(\d+M for this one alone\), or auto/,
    ],
    [{ bootSize: 1000 }, 'USAGE', /bootSize is 1000 bytes; give whole MiB/],
    [{ rootSize: 1.5 }, 'USAGE', /rootSize is 1.5 bytes/],
    [{ rootSize: 20 * MEBIBYTE }, 'LIMIT', /pool/],
    [{ rootSize: 76 * MEBIBYTE, fileSystemProperties: { refreservation: '200M' } }, 'LIMIT', /rootSize is 79691776 bytes, .* \d+M will do/],
    [{ datasets: [{ name: 'tank/a', mount: '/nix' }] }, 'USAGE', /in no dataset; give one of them the mount point \//],
    [{ pool: 'other', datasets: [{ name: 'tank/a', mount: '/' }] }, 'USAGE', /'tank\/a' is not in the pool/],
    [{ snapshots: [{ dataset: 'tank/x', name: 'a', state: 'empty' }] }, 'USAGE', /tank\/x@a: there is no such dataset; there are tank\//],
    [{ fileSystemProperties: { encryption: 'on' } }, 'UNSUPPORTED', /encryption=on/],
    [{ fileSystemProperties: { compresion: 'on' } }, 'USAGE', /no property 'compresion'/],
    [{ compression: { name: 'zstd' } }, 'USAGE', /raw is not compressed/],
    [{ configuration: '{}', channel: '/nix/store/00000000000000000000000000000000-x' }, 'NOT_FOUND', /channel/],
  ])('%j', async (options, code, message) => {
    expect(await refused(options)).toMatchObject({ code, message: expect.stringMatching(message) })
  })

  it('a boot disk of the size that an error names is large enough', async () => {
    const error = (await refused({ bootSize: 4 * MEBIBYTE })) as Error
    const size = Number(/\((\d+)M for this one alone/.exec(error.message)?.[1]) * MEBIBYTE
    expect((await planOf({ bootSize: size })).bootSize).toBe(size)
    expect(await refused({ bootSize: size - MEBIBYTE })).toMatchObject({ code: 'LIMIT' })
  })
})

const skip = oracle('sfdisk', 'sgdisk', 'fsck.fat').skip
const sectorsOf = (table: PartitionTable) => table.partitions.map(({ start, size, type, name = '' }) => `${start}+${size} ${type} ${name}`)

const BIOS_BOOT = '21686148-6449-6E6F-744E-656564454649'
const EFI_SYSTEM = 'C12A7328-F81F-11D2-BA4B-00A0C93EC93B'
const BASIC_DATA = 'EBD0A0A2-B9E5-4433-87C0-68B6B72699C7'
const ZFS = '6A898CC3-1DD2-11B2-99A6-080020736631'
const RESERVED = '6A945A3B-1DD2-11B2-99A6-080020736631'

describe.skipIf(skip)('partition tables', () => {
  it("two disks have nixpkgs' and libzfs' addresses", async () => {
    const { files } = await build({ rootSize: 2048 * MEBIBYTE })
    const [boot = '', root = ''] = files
    for (const file of files) expect(runOk('sgdisk', ['-v', file]).text).toContain('No problems found')
    expect(sectorsOf(tableOf(boot))).toEqual([`2048+2048 ${BIOS_BOOT} no-fs`, `4096+${21 * 2048} ${EFI_SYSTEM} ESP`])
    // The example of libzfs for 2 GiB: 2048 to 4175871, 4175872 to 4192255.
    expect(sectorsOf(tableOf(root))).toEqual([
      expect.stringMatching(new RegExp(`^2048\\+4173824 ${ZFS} zfs-[0-9a-f]{16}$`)),
      `4175872+16384 ${RESERVED} `,
    ])
    expect(JSON.stringify(tableOf(root))).toContain('nixos.root.img9')
  })

  it('one disk has both, and with parity no partition that says what it is', async () => {
    const single = { layout: 'single-disk', bootSize: 24 * MEBIBYTE, rootSize: 128 * MEBIBYTE } as const
    const plain = await build(single)
    expect(plain.plan.files).toEqual(['nixos.root.img'])
    const rows = (types: readonly string[]) => [
      `2048+2048 ${BIOS_BOOT} no-fs`,
      `4096+${22 * 2048} ${types[0]} primary`,
      `${24 * 2048}+${127 * 2048} ${types[1]} primary`,
    ]
    expect(sectorsOf(tableOf(plain.files[0] ?? ''))).toEqual(rows([EFI_SYSTEM, ZFS]))
    expect(sectorsOf(tableOf((await build({ ...single, parity: true })).files[0] ?? ''))).toEqual(rows([BASIC_DATA, BASIC_DATA]))
  })

  it('the EFI system partition starts the system', async () => {
    const { files } = await build()
    const volume = join(folder, 'esp')
    const bytes = readFileSync(files[0] ?? '').subarray(2 * MEBIBYTE, 23 * MEBIBYTE)
    writeFileSync(volume, bytes)
    runOk('fsck.fat', ['-n', volume])
    const names = [...readFat(fromBytes(bytes)).files.keys()]
    expect(names).toEqual(expect.arrayContaining(['/EFI/BOOT/BOOTX64.EFI', '/loader/loader.conf']))
    expect(names.filter((name) => /^\/loader\/entries\/nixos-[0-9a-f]{64}\.conf$/.test(name))).toHaveLength(2)
  })
})

describe('bytes', () => {
  it('are the same for any number of workers, and with a seed of its own others of the same length', async () => {
    const one = await bytesOf({}, 1)
    expect(await bytesOf({}, 3)).toEqual(one)
    const other = await bytesOf({ seed: 'other' }, 1)
    for (const [index, { digest, length }] of one.entries()) {
      expect(other[index]).toMatchObject({ length })
      expect(other[index]?.digest).not.toBe(digest)
    }
  })
})

async function bytesOf(
  options: Partial<ZfsOptions>,
  jobs: number,
): Promise<readonly { readonly digest: string; readonly length: number }[]> {
  const made = await zfs({ ...base, ...options })
  const place = await mkdtemp(join(folder, 'bytes-'))
  const found: { digest: string; length: number }[] = []
  for (const { path: name, image } of await imageFiles(made)) {
    await saveImage(image, join(place, name), { jobs, digest: false })
    const bytes = readFileSync(join(place, name))
    found.push({ digest: createHash('sha256').update(bytes).digest('hex'), length: bytes.length })
  }
  rmSync(place, { recursive: true })
  return found
}

describe.skipIf(oracle('qemu-img').skip)('containers', () => {
  let raw: Built
  beforeAll(async () => {
    raw = await build({}, 'raw')
  })

  it.each(['qcow2', 'qcow2-compressed', 'vdi', 'vhd', 'vhd-fixed', 'vhdx', 'vmdk'] as const)('%s holds the same disks', async (format) => {
    const { files, plan } = await build({ format })
    expect(plan.files).toEqual(files.map((file) => file.split('/').at(-1)))
    for (const [index, file] of files.entries()) {
      const driver = { 'qcow2-compressed': 'qcow2', vhd: 'vpc', 'vhd-fixed': 'vpc' }[format as string] ?? format
      runOk('qemu-img', ['compare', '-f', driver, '-F', 'raw', file, raw.files[index] ?? ''])
    }
  })
})
