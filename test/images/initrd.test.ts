/** The recipe of initrds: what they hold, in what order, and what is refused. */
import { chmodSync, linkSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { removeStore, unpackSmall } from '../../fixtures/unpack.ts'
import { type InitrdOptions, initrd } from '../../src/images/initrd.ts'
import type { GrowingImage } from '../../src/io/image.ts'
import { saveImage } from '../../src/io/output.ts'
import { type InitrdMember, readInitrd, unpackedInitrd } from '../readers/initrd-reader.ts'

let work: string
let base: InitrdOptions
let storePaths: readonly string[]
const at = (...names: string[]): string => join(work, ...names)

beforeAll(async () => {
  work = await mkdtemp(join(tmpdir(), 'kilnix-initrd-'))
  const small = await unpackSmall(at('closure'))
  base = { closure: small.folder, root: small.root, compression: { name: 'zstd', level: 1 } }
  storePaths = small.storePaths
  mkdirSync(at('folder', 'ssh'), { recursive: true })
  writeFileSync(at('folder', 'ssh', 'key'), 'secret\n')
  chmodSync(at('folder', 'ssh', 'key'), 0o600)
  chmodSync(at('folder', 'ssh'), 0o700)
  linkSync(at('folder', 'ssh', 'key'), at('folder', 'again'))
  symlinkSync('ssh/key', at('folder', 'link'))
})
afterAll(() => removeStore(work))

let count = 0
async function build(options: InitrdOptions, jobs = 2): Promise<{ bytes: Buffer; members: InitrdMember[] }> {
  const bytes = await bytesOf(options, jobs)
  return { bytes, members: readInitrd(bytes) }
}

async function bytesOf(options: InitrdOptions, jobs = 2): Promise<Buffer> {
  const path = at(`initrd-${count++}`)
  const image = (await initrd(options)).image as GrowingImage
  const { size } = await saveImage(image, path, { jobs })
  expect(size).toBeLessThanOrEqual(image.sizeLimit)
  const bytes = readFileSync(path)
  rmSync(path)
  return bytes
}

describe('an initrd', () => {
  it('holds a closure as it is, mount points and links', async () => {
    const init = `${storePaths[0]}/bin/init`
    const { members } = await build({ ...base, links: [{ target: 'init', destination: init }] })
    expect(members).toHaveLength(1)
    const unpacked = unpackedInitrd(members)
    for (const name of ['dev', 'proc', 'sys', 'nix', 'nix/store']) expect(unpacked.get(name)?.mode, name).toBe(0o40755)
    for (const path of storePaths) expect(unpacked.has(path.slice(1)), path).toBe(true)
    expect(unpacked.get('init')).toMatchObject({ mode: 0o120777, data: Buffer.from(init) })
    for (const entry of unpacked.values()) {
      expect([entry.uid, entry.gid, entry.mtime]).toEqual([0, 0, 1])
      if ((entry.mode & 0o170000) !== 0o100000) continue
      const host = readFileSync(Buffer.concat([Buffer.from(`${base.root}/`), entry.name]))
      expect(entry.data.equals(host), entry.name.toString()).toBe(true)
    }
  })

  it('holds added files with their modes, hard links as such where that is asked for', async () => {
    const add = [{ target: 'root', source: at('folder') }]
    const apart = unpackedInitrd((await build({ add, mtimeSeconds: 7 })).members)
    expect([...apart.keys()]).toEqual(['root', 'root/again', 'root/link', 'root/ssh', 'root/ssh/key'])
    expect(apart.get('root/ssh')).toMatchObject({ mode: 0o40700, uid: 0, gid: 0, mtime: 7 })
    expect(apart.get('root/ssh/key')).toMatchObject({ mode: 0o100600, nlink: 1, data: Buffer.from('secret\n') })
    expect(apart.get('root/link')).toMatchObject({ mode: 0o120777, data: Buffer.from('ssh/key') })
    const linked = unpackedInitrd((await build({ add, hardLinks: true })).members)
    expect(linked.get('root/again')?.ino).toBe(linked.get('root/ssh/key')?.ino)
    expect(linked.get('root/again')).toMatchObject({ nlink: 2, data: Buffer.alloc(0) })
    expect(linked.get('root/ssh/key')).toMatchObject({ nlink: 2, data: Buffer.from('secret\n') })
  })

  it('holds what is in a folder at its root, and devices and pipes that no host has', async () => {
    const unpacked = unpackedInitrd(
      (
        await build({
          add: [{ target: '/', source: at('folder') }],
          nodes: [
            { target: 'dev/console', kind: 'characterDevice', major: 5, minor: 1 },
            { target: 'dev/vda', kind: 'blockDevice', major: 254, minor: 0, mode: 0o660, gid: 6 },
            { target: 'run/pipe', kind: 'fifo', mode: 0o644 },
          ],
        })
      ).members,
    )
    expect([...unpacked.keys()]).toEqual(['again', 'dev', 'dev/console', 'dev/vda', 'link', 'run', 'run/pipe', 'ssh', 'ssh/key'])
    expect(unpacked.get('dev/console')).toMatchObject({ mode: 0o20600, uid: 0, gid: 0, rdevmajor: 5, rdevminor: 1 })
    expect(unpacked.get('dev/vda')).toMatchObject({ mode: 0o60660, gid: 6, rdevmajor: 254 })
    expect(unpacked.get('run/pipe')).toMatchObject({ mode: 0o10644 })
    await expect(build({ add: [{ target: '/', source: at('folder', 'ssh', 'key') }] })).rejects.toMatchObject({ code: 'USAGE' })
  })

  it('comes after archives of the host, which stay as they are', async () => {
    const add = [{ target: 'kernel/x86/microcode', source: at('folder') }]
    const first = await build({ add, compression: { name: 'none' } })
    writeFileSync(at('microcode'), first.bytes)
    writeFileSync(at('odd'), (await build({ add: [{ target: 'odd', source: at('folder') }] })).bytes)
    const { bytes, members } = await build({
      prepend: [at('microcode'), at('odd')],
      add: [{ target: 'last', source: at('folder') }],
      compression: { name: 'gzip', level: 9 },
    })
    expect(bytes.subarray(0, first.bytes.length).equals(first.bytes)).toBe(true)
    expect(members.map(({ codec }) => codec)).toEqual(['none', 'zstd', 'gzip'])
    expect(members.map(({ entries }) => entries[0]?.name.toString())).toEqual(['kernel', 'odd', 'last'])
  })

  it('puts four zeros behind an lz4 archive, which Linux takes for its end', async () => {
    const add = [{ target: 'one', source: at('folder') }]
    const lz4 = await build({ add, compression: { name: 'lz4' } })
    writeFileSync(at('lz4'), lz4.bytes)
    const bytes = await bytesOf({ prepend: [at('lz4')], add, compression: { name: 'none' } })
    const start = Math.ceil((lz4.bytes.length + 4) / 4) * 4
    expect(bytes.subarray(lz4.bytes.length, start).every((byte) => byte === 0)).toBe(true)
    expect(bytes.toString('latin1', start, start + 6)).toBe('070701')
    expect(readInitrd(bytes.subarray(start))[0]?.entries[0]?.name.toString()).toBe('one')
  })

  it('tells of microcode that no kernel would find', async () => {
    const notes: unknown[] = []
    await initrd({ prepend: [at('odd'), at('microcode')], onProgress: (event) => event.kind === 'note' && notes.push(event.message) })
    expect(notes).toEqual([expect.stringMatching(/microcode holds microcode, .*name it first/)])
    notes.length = 0
    await initrd({ prepend: [at('microcode'), at('odd')], onProgress: (event) => event.kind === 'note' && notes.push(event.message) })
    expect(notes).toEqual([])
  })

  // Of every codec, test/codecs/stream-formats.test.ts says it.
  it.each(['gzip:1', 'lz4', 'none'])('is the same with any number of workers: %s', async (text) => {
    const [name, level] = text.split(':') as ['gzip' | 'lz4' | 'none', string | undefined]
    const compression = level === undefined ? { name } : { name, level: Number(level) }
    const [one, many] = [await build({ ...base, compression }, 1), await build({ ...base, compression }, 4)]
    expect(many.bytes.equals(one.bytes)).toBe(true)
    expect(one.members[0]?.entries.length).toBeGreaterThan(storePaths.length)
  })

  it('is planned as plain data', async () => {
    const { plan, inputs } = await initrd({ ...base, prepend: [at('microcode')] })
    expect(JSON.parse(JSON.stringify(plan))).toEqual(plan)
    expect(plan).toMatchObject({ pathCount: storePaths.length, verified: true, compression: { name: 'zstd', level: 1 } })
    expect(plan.archiveBytes).toBeGreaterThan(1 << 20)
    expect(inputs).toEqual(expect.arrayContaining([at('microcode'), `${base.root}${storePaths[0]}`]))
  })

  it.each<[string, () => InitrdOptions, object]>([
    ['nothing', () => ({}), { code: 'USAGE' }],
    ['text to prepend', () => ({ prepend: [at('folder/ssh/key')] }), { code: 'BAD_INPUT', message: /no cpio archive/ }],
    ['a folder to prepend', () => ({ prepend: [at('folder')] }), { code: 'BAD_INPUT', message: /is a folder/ }],
    ['what is not there', () => ({ prepend: [at('none')] }), { code: 'NOT_FOUND' }],
    ['an addition that is not there', () => ({ add: [{ target: 'a', source: at('none') }] }), { code: 'NOT_FOUND' }],
    [
      'two files of one name',
      () => ({ ...base, links: [{ target: storePaths[0]?.slice(1) ?? '', destination: 'x' }] }),
      { code: 'USAGE', message: /is in the image already/ },
    ],
  ])('is refused for %s', async (_what, options, error) => {
    await expect(initrd(options())).rejects.toMatchObject(error)
  })

  it('is not made of a store with other content than the listing says', async () => {
    const [path = ''] = storePaths.filter((one) => one.includes('busybox'))
    const file = join(base.root ?? '', path, 'bin/busybox')
    const bytes = readFileSync(file)
    const changed = Buffer.from(bytes)
    changed[1000] = (changed[1000] ?? 0) ^ 1
    chmodSync(file, 0o755)
    writeFileSync(file, changed)
    await expect(build(base)).rejects.toMatchObject({ code: 'HASH_MISMATCH', path })
    await build({ ...base, verify: false })
    writeFileSync(file, bytes)
  })
})
