/** How a volume is written: progress, cancelling, inputs that change, growing files that grow too far. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { type Iso9660Options, iso9660 } from '../../../src/filesystems/iso9660/index.ts'
import type { ProgressEvent } from '../../../src/io/progress.ts'
import { BufferTarget } from '../../../src/io/target.ts'
import type { DirectoryNode, FileNode } from '../../../src/tree/tree.ts'
import { readIso } from '../../readers/iso9660-reader.ts'
import {
  BOOT,
  BOOT_CODE,
  bootTree,
  bytesOf,
  DEFAULT_OPTIONS,
  DISK_GUID,
  directory,
  file,
  growing,
  owner,
  packToMemory,
  scratchFolder,
} from './volumes.ts'

const folder = scratchFolder()

function hostFile(path: string, size: number): FileNode {
  return { kind: 'file', mode: 0o444, ...owner, size, content: { kind: 'hostFile', path: bytesOf(path) } }
}

async function pack(
  root: DirectoryNode,
  options: Partial<Iso9660Options>,
  context: { signal?: AbortSignal; onProgress?: (event: ProgressEvent) => void } = {},
): Promise<BufferTarget> {
  const target = new BufferTarget()
  await iso9660(root, { ...DEFAULT_OPTIONS, ...options }).pack(target, 0, { jobs: 1, ...context })
  return target
}

describe('files of the host', () => {
  it('are copied', async () => {
    const path = join(folder, 'host')
    const bytes = Buffer.alloc(3_000_000, 'kiln')
    writeFileSync(path, bytes)
    const iso = readIso((await packToMemory(directory({ h: hostFile(path, bytes.length) }))).readAt)
    expect(iso.primary.entries.map((entry) => iso.content(entry).equals(bytes))).toEqual([true])
  })

  it('that are shorter, longer or gone are errors which name them', async () => {
    const path = join(folder, 'changed')
    writeFileSync(path, '12345')
    for (const size of [4, 6])
      await expect(pack(directory({ h: hostFile(path, size) }), {})).rejects.toMatchObject({ code: 'CHANGED', path })
    const gone = join(folder, 'gone')
    await expect(pack(directory({ h: hostFile(gone, 1) }), {})).rejects.toMatchObject({ path: gone })
    await expect(pack(directory({ h: hostFile(folder, 1) }), {})).rejects.toMatchObject({ path: folder })
  })

  it('an image that yields less than it says is an error', async () => {
    const image = {
      size: 10,
      extents: [
        {
          start: 0,
          length: 10,
          async *read() {
            yield new Uint8Array(9)
          },
        },
      ],
    }
    const node: FileNode = { kind: 'file', mode: 0, ...owner, size: 10, content: { kind: 'image', image } }
    await expect(pack(directory({ i: node }), {})).rejects.toMatchObject({ code: 'CHANGED', path: '/i' })
  })
})

describe('progress', () => {
  it('counts every byte of data once, whatever grows between', async () => {
    const events: ProgressEvent[] = []
    const growingFile = { path: 'store', mode: 0o444, ...owner, image: growing(new Uint8Array(5000)) }
    await pack(
      bootTree(),
      { boot: BOOT, growingFile, hybrid: { kind: 'gpt', diskGuid: DISK_GUID, bootCode: BOOT_CODE } },
      { onProgress: (event) => events.push(event) },
    )
    const stages = events.filter((event) => event.kind === 'stage')
    expect(stages.map((event) => event.stage)).toEqual(['write', 'write'])
    const total = stages[0]?.totalBytes ?? 0
    const done = events.flatMap((event) => (event.kind === 'bytes' ? [event.doneBytes] : []))
    expect([...done].sort((a, b) => a - b)).toEqual(done)
    expect(done.at(-1)).toBe(total)
    expect(total).toBeGreaterThan(1474560)
  })
})

describe('cancelling', () => {
  it('stops before the next write', async () => {
    const controller = new AbortController()
    const onProgress = (event: ProgressEvent): void => {
      if (event.kind === 'bytes') controller.abort()
    }
    await expect(pack(bootTree(), {}, { signal: controller.signal, onProgress })).rejects.toMatchObject({ code: 'ABORTED' })
  })
})

describe('what is known only while packing', () => {
  it('refuses MBR boot code for a boot file that it would not start', async () => {
    const root = directory({ 'b.bin': file(new Uint8Array(3000)) })
    const boot = { catalogPath: 'c', bios: { path: 'b.bin' } }
    await expect(pack(root, { boot, hybrid: { kind: 'gpt', diskGuid: DISK_GUID, bootCode: BOOT_CODE } })).rejects.toMatchObject({
      code: 'BAD_INPUT',
    })
    await pack(root, { boot, hybrid: { kind: 'gpt', diskGuid: DISK_GUID } })
  })

  it('refuses a growing file that outgrows its limit', async () => {
    const growingFile = { path: 'store', mode: 0o444, ...owner, image: growing(new Uint8Array(5000), 4999) }
    await expect(pack(directory({}), { growingFile })).rejects.toMatchObject({ code: 'LIMIT', path: '/store' })
  })

  it('packs at a place other than the beginning of the target', async () => {
    const target = new BufferTarget()
    const root = bootTree()
    const options: Iso9660Options = { ...DEFAULT_OPTIONS, boot: BOOT, hybrid: { kind: 'gpt', diskGuid: DISK_GUID, bootCode: BOOT_CODE } }
    const image = await iso9660(root, options).pack(target, 8192, { jobs: 1 })
    const alone = await packToMemory(root, options)
    await target.setSize(8192 + image.size)
    expect(Buffer.from(target.bytes.subarray(8192)).equals(alone.bytes)).toBe(true)
    expect(image.extents.map(({ start, length }) => [start, length])).toEqual(
      alone.image.extents.map(({ start, length }) => [start, length]),
    )
  })

  it('gives the same bytes twice, and other identifiers for another GUID', async () => {
    const options = { boot: BOOT, hybrid: { kind: 'nixpkgs', diskGuid: DISK_GUID, bootCode: BOOT_CODE } } as const
    const first = await packToMemory(bootTree(), options)
    expect((await packToMemory(bootTree(), options)).bytes.equals(first.bytes)).toBe(true)
    const other = await packToMemory(bootTree(), { ...options, hybrid: { ...options.hybrid, diskGuid: new Uint8Array(16).fill(3) } })
    expect(other.bytes.readUInt32LE(440)).not.toBe(first.bytes.readUInt32LE(440))
  })
})
