import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { guidFromText } from '../../src/bytes/guid.ts'
import { ATTRIBUTE, type GptOptions, type GptPartition, gpt, gptTables, PARTITION_TYPE_GUID, planGpt } from '../../src/disks/gpt/index.ts'
import { bytesImage, type Image } from '../../src/io/image.ts'
import { oracle, run, runOk } from '../oracles/tools.ts'

const folder = mkdtempSync(join(tmpdir(), 'kilnix-gpt-'))
afterAll(() => {
  rmSync(folder, { recursive: true, force: true })
})

async function toFile(image: Image, name: string): Promise<string> {
  const bytes = Buffer.alloc(image.size)
  let end = 0
  for (const extent of image.extents) {
    expect(extent.start).toBeGreaterThanOrEqual(end)
    let at = extent.start
    for await (const chunk of extent.read()) {
      bytes.set(chunk, at)
      at += chunk.length
    }
    end = extent.start + extent.length
    expect(at).toBe(end)
  }
  const path = join(folder, name)
  writeFileSync(path, bytes)
  return path
}

const esp: GptPartition = { name: 'EFI', typeGuid: PARTITION_TYPE_GUID.efiSystem, image: bytesImage(new Uint8Array(3000).fill(1)) }
const root: GptPartition = {
  name: 'root',
  typeGuid: PARTITION_TYPE_GUID.linuxData,
  image: bytesImage(new Uint8Array(5000).fill(2)),
  size: 2 << 20,
}

describe('numbers', () => {
  const plain = { ...root, image: bytesImage(new Uint8Array(0)) }

  it('put entries elsewhere than in the order of the list', () => {
    const { entries, diskSectorCount, ...rest } = planGpt([esp, { ...plain, number: 9 }], { seed: 's' })
    const { entryArray } = gptTables({ ...rest, diskSectorCount, entries })
    const slots = Array.from({ length: 128 }, (_, slot) => entryArray.subarray(128 * slot, 128 * (slot + 1)))
    expect(slots.flatMap((slot, index) => (slot.some((byte) => byte !== 0) ? [index + 1] : []))).toEqual([1, 9])
  })

  it.each([
    [[1, 1], /two partitions have the number 1/],
    [[undefined, 1], /two partitions have the number 1/],
    [[0, undefined], /the number 0, the table has 1 to 128/],
    [[129, undefined], /the number 129/],
    [[1.5, undefined], /the number 1.5/],
  ])('%j are refused', (numbers, message) => {
    const numbered = [esp, plain].map((partition, index) => {
      const number = numbers[index]
      return { ...partition, ...(number !== undefined && { number }) }
    })
    expect(() => gpt(numbered, { seed: 's' })).toThrow(expect.objectContaining({ code: 'USAGE', message: expect.stringMatching(message) }))
  })
})

describe('records', () => {
  it('have the bytes of UEFI 2.10, tables 5.5 and 5.6', () => {
    const tables = gptTables({
      diskGuid: guidFromText('00112233-4455-6677-8899-AABBCCDDEEFF'),
      diskSectorCount: 10240,
      sectorSize: 512,
      entryCount: 128,
      firstUsableSector: 34,
      lastUsableSector: 10206,
      entries: [
        {
          typeGuid: PARTITION_TYPE_GUID.efiSystem,
          partitionGuid: new Uint8Array(16).fill(9),
          startSector: 2048,
          sectorCount: 100,
          name: 'aB',
          attributes: ATTRIBUTE.legacyBiosBootable,
        },
      ],
    })
    const header = Buffer.from(tables.primaryHeader)
    expect(header.toString('latin1', 0, 8)).toBe('EFI PART')
    expect(header.toString('hex', 8, 16)).toBe('000001005c000000')
    expect([24, 32, 40, 48, 72].map((at) => Number(header.readBigUInt64LE(at)))).toEqual([1, 10239, 34, 10206, 2])
    expect(header.toString('hex', 56, 72)).toBe('33221100554477668899aabbccddeeff')
    expect([80, 84].map((at) => header.readUInt32LE(at))).toEqual([128, 128])
    expect([24, 32, 72].map((at) => Number(Buffer.from(tables.backupHeader).readBigUInt64LE(at)))).toEqual([10239, 1, 10207])
    expect(Buffer.from(tables.entryArray).toString('hex', 0, 60)).toBe(
      ['28732ac11ff8d211ba4b00a0c93ec93b', '09'.repeat(16), '0008000000000000', '6308000000000000', '0400000000000000', '61004200'].join(
        '',
      ),
    )
    expect(tables.entryArray.length).toBe(16384)
  })
})

describe('a plan', () => {
  const options: GptOptions = { seed: 's' }

  it('aligns partitions and the disk to 1 MiB', () => {
    const plan = planGpt([esp, root], options)
    expect(plan.entries.map(({ startSector, sectorCount }) => [startSector, sectorCount])).toEqual([
      [2048, 6],
      [4096, 4096],
    ])
    expect(plan).toMatchObject({ diskSectorCount: 10240, firstUsableSector: 34, lastUsableSector: 10206, entryCount: 128 })
  })

  it('derives identifiers from the seed', () => {
    const guids = (seed: string): string[] => {
      const plan = planGpt([esp, root], { seed })
      return [plan.diskGuid, ...plan.entries.map(({ partitionGuid }) => partitionGuid)].map((guid) => Buffer.from(guid).toString('hex'))
    }
    expect(guids('a')).toEqual(guids('a'))
    expect(new Set([...guids('a'), ...guids('b')]).size).toBe(6)
  })

  it.each<[string, string, readonly GptPartition[], Partial<GptOptions>]>([
    ['a sector size of 1024', 'USAGE', [], { sectorSize: 1024 as never }],
    ['an alignment below a sector', 'USAGE', [], { alignment: 100 }],
    ['129 partitions', 'LIMIT', Array.from({ length: 129 }, (_, i) => ({ ...esp, name: `${i}` })), {}],
    ['a partition smaller than its image', 'LIMIT', [{ ...root, size: 4999 }], {}],
    ['an empty partition', 'USAGE', [{ ...root, image: bytesImage(new Uint8Array(0)), size: 0 }], {}],
    ['overlapping partitions', 'USAGE', [root, { ...esp, startSector: 4000 }], {}],
    ['a partition on the table', 'USAGE', [{ ...esp, startSector: 33 }], {}],
    ['equal GUIDs', 'USAGE', [esp, esp], {}],
    ['a disk that is too small', 'LIMIT', [root], { size: 3 << 20 }],
    ['half a sector', 'USAGE', [], { size: (1 << 20) + 100 }],
  ])('refuses %s', (_, code, partitions, further) => {
    expect(() => planGpt(partitions, { ...options, ...further })).toThrow(expect.objectContaining({ code }))
  })

  it('refuses names beyond 36 units', () => {
    expect(() => gpt([{ ...esp, name: 'n'.repeat(37) }], options)).toThrow(expect.objectContaining({ code: 'LIMIT' }))
  })
})

describe.skipIf(oracle('sgdisk', 'sfdisk').skip)('sgdisk and sfdisk', () => {
  it('find nothing wrong', async () => {
    const path = await toFile(gpt([esp, root], { seed: 'disk', size: 64 << 20 }), 'disk.img')
    expect(runOk('sgdisk', ['-v', path]).text).toContain('No problems found')
    expect(runOk('sfdisk', ['--verify', path]).text).toContain('No errors detected')
    const dump = runOk('sfdisk', ['-d', path]).text
    expect(dump).toMatch(/1 : start= +2048, size= +6, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, .*name="EFI"/)
    expect(dump).toMatch(/2 : start= +4096, size= +4096, type=0FC63DAF-8483-4772-8E79-3D69D8477DE4, .*name="root"/)
    const bytes = readFileSync(path)
    expect(bytes.subarray(1 << 20, (1 << 20) + 3000).every((byte) => byte === 1)).toBe(true)
    expect(bytes.subarray(2 << 20, (2 << 20) + 5000).every((byte) => byte === 2)).toBe(true)
  })

  it('still see a protective MBR when an entry is forced bootable', async () => {
    const path = await toFile(gpt([esp], { seed: 'disk', bootCode: new Uint8Array(440).fill(0x90), forceBootable: true }), 'bootable.img')
    expect(runOk('sgdisk', ['-v', path]).text).toContain('No problems found')
    expect(runOk('sfdisk', ['-d', path]).text).toContain('label: gpt')
  })

  it('read a disk of 4096-byte sectors', async () => {
    const path = await toFile(gpt([esp, root], { seed: 'disk', sectorSize: 4096 }), '4k.img')
    // fdisk takes a sector size; its sister sfdisk does not. The three are one package.
    const listing = runOk('fdisk', ['-b', '4096', '-l', '-o', 'Start,Sectors,Type-UUID', path])
    expect(listing.text).toContain('Disklabel type: gpt')
    expect(listing.text).toMatch(/^ +256 +1 +C12A7328/m)
    expect(listing.text).toMatch(/^ +512 +512 +0FC63DAF/m)
    expect(listing.text + listing.stderr).not.toMatch(/corrupt|PMBR size mismatch|not aligned/)
  })

  it.each([
    ['primary header', 512 + 40],
    ['entry array', 1024 + 130],
    ['backup array', -512 - 16384 + 33],
    ['backup header', -512 + 24],
  ])('find a changed byte in the %s', async (_, at) => {
    const path = await toFile(gpt([esp, root], { seed: 'disk' }), 'damaged.img')
    const bytes = readFileSync(path)
    const position = at < 0 ? bytes.length + at : at
    bytes[position] = (bytes[position] ?? 0) ^ 0x40
    writeFileSync(path, bytes)
    const { text, stderr } = run('sgdisk', ['-v', path])
    expect(text.includes('No problems found') && !/caution|warning|invalid|corrupt/i.test(text + stderr)).toBe(false)
  })
})
