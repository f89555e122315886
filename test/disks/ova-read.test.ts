/** OVAs as others pack them, and such as are damaged: archives by GNU tar, manifests by other digests, no blocks of zeros at the end. */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openOva, ova } from '../../src/disks/ova/index.ts'
import { bytesExtent, type Image } from '../../src/io/image.ts'
import { bytesSource } from '../../src/io/source.ts'
import { BufferTarget } from '../../src/io/target.ts'
import { digest } from './containers.ts'

const SIZE = 3 << 20
const disk: Image = { size: SIZE, extents: [bytesExtent(65536, new Uint8Array(70000).fill(7)), bytesExtent(SIZE - 1, Uint8Array.of(9))] }
const BLOCK = 512

let folder: string
let archive: Uint8Array
let wanted: string
/** Of the members, in their order. */
let files: Map<string, Uint8Array>

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'kilnix-ova-'))
  const target = new BufferTarget()
  await ova(disk, { seed: 's', name: 'vm' }).pack(target, 0, { jobs: 1, threads: 'none' })
  archive = target.bytes
  wanted = await digest(disk)
  writeFileSync(join(folder, 'vm.ova'), archive)
  execFileSync('tar', ['-C', folder, '-xf', join(folder, 'vm.ova')])
  files = new Map(['vm.ovf', 'vm.mf', 'vm-disk1.vmdk'].map((name) => [name, readFileSync(join(folder, name))]))
})
afterAll(() => rmSync(folder, { recursive: true }))

const opened = async (bytes: Uint8Array): Promise<string> => digest(await openOva(bytesSource(bytes)))

/** What GNU tar makes of the files, with other contents or names where they are given. */
function packed(change: Readonly<Record<string, Uint8Array | string>>, ...options: string[]): Uint8Array {
  const members = new Map<string, Uint8Array | string>([...files, ...Object.entries(change)])
  const names = [...members.keys()]
  for (const [name, content] of members) writeFileSync(join(folder, name), content)
  return execFileSync('tar', ['-C', folder, '-cf', '-', ...options, ...names], { maxBuffer: 1 << 26 })
}

const manifest = (algorithm: string, label = algorithm.toUpperCase()): string =>
  ['vm.ovf', 'vm-disk1.vmdk']
    .map(
      (name) =>
        `${label}(${name})= ${createHash(algorithm)
          .update(files.get(name) ?? '')
          .digest('hex')}\r\n`,
    )
    .join('')

describe('an OVA is read', () => {
  it.each(['--format=ustar', '--format=gnu', '--format=oldgnu', '--format=pax', '--format=posix'])('packed by tar %s', async (format) => {
    expect(await opened(packed({}, format))).toBe(wanted)
  })

  it('that ends behind its last member, with one block of zeros, or with many', async () => {
    const end = archive.length - 2 * BLOCK
    for (const length of [end, end + BLOCK]) expect(await opened(archive.subarray(0, length))).toBe(wanted)
    expect(await opened(Buffer.concat([archive, new Uint8Array(40 * BLOCK)]))).toBe(wanted)
  })

  it.each(['sha1', 'sha512'])('with a manifest by %s', async (algorithm) => {
    expect(await opened(packed({ 'vm.mf': manifest(algorithm) }))).toBe(wanted)
  })

  it('with long names, whoever writes them', async () => {
    const name = `${'n'.repeat(120)}.vmdk`
    for (const format of ['gnu', 'pax']) {
      const members = ['vm.ovf', name]
      writeFileSync(join(folder, name), files.get('vm-disk1.vmdk') ?? '')
      const bytes = execFileSync('tar', ['-C', folder, '-cf', '-', `--format=${format}`, ...members], { maxBuffer: 1 << 26 })
      expect(await opened(bytes)).toBe(wanted)
    }
  })

  it('though a link in it, or a header of its own, is named like a disk', async () => {
    symlinkSync('elsewhere', join(folder, 'link.vmdk'))
    const bytes = execFileSync('tar', ['-C', folder, '-cf', '-', '--format=pax', 'vm.ovf', 'vm-disk1.vmdk', 'link.vmdk'], {
      maxBuffer: 1 << 26,
    })
    expect(Buffer.from(bytes).includes('PaxHeaders')).toBe(true)
    expect(await opened(bytes)).toBe(wanted)
  })
})

describe('an OVA is refused', () => {
  const refused = (bytes: Uint8Array, code: string, message: RegExp): Promise<void> =>
    expect(opened(bytes)).rejects.toMatchObject({ code, message: expect.stringMatching(message) })

  it('whose disk or descriptor is not what its manifest says', async () => {
    for (const name of ['vm.ovf', 'vm-disk1.vmdk']) {
      const changed = Buffer.from(files.get(name) ?? '')
      const at = changed.length >> 1
      changed[at] = (changed[at] ?? 0) ^ 1
      await refused(packed({ [name]: changed }), 'BAD_INPUT', new RegExp(`${name} has the SHA256 [0-9a-f]{64}, its manifest says`))
    }
  })

  it('with a file that is missing, a digest that is not known, or a line that is none', async () => {
    await refused(
      packed({ 'vm.mf': `${manifest('sha256')}SHA256(other.vmdk)= ${'0'.repeat(64)}\n` }),
      'BAD_INPUT',
      /other\.vmdk is in the manifest and not/,
    )
    await refused(packed({ 'vm.mf': manifest('md5') }), 'UNSUPPORTED', /a digest by MD5; known are SHA1, SHA256, SHA512/)
    await refused(packed({ 'vm.mf': 'SHA256 vm.ovf\n' }), 'BAD_INPUT', /a line that is none/)
  })

  it('with a damaged header, or cut short', async () => {
    const second = BLOCK * (1 + Math.ceil((files.get('vm.ovf')?.length ?? 0) / BLOCK))
    for (const at of [0, 110, second + 3]) {
      const bytes = new Uint8Array(archive)
      bytes[at] = (bytes[at] ?? 0) ^ 4
      await refused(bytes, 'BAD_INPUT', /the tar header at byte \d+ has a wrong checksum/)
    }
    await refused(archive.subarray(0, archive.length - 3 * BLOCK), 'BAD_INPUT', /vm-disk1\.vmdk has \d+ bytes, the archive ends before/)
    await refused(archive.subarray(0, second + 100), 'BAD_INPUT', /512 bytes at \d+ are not within the file/)
  })

  it('with two disks', async () => {
    await refused(
      packed({ 'second.vmdk': files.get('vm-disk1.vmdk') ?? '' }),
      'USAGE',
      /2 disks in it.*1 \('vm-disk1\.vmdk'\), 2 \('second\.vmdk'\)/,
    )
  })

  it('whose pax header lies', async () => {
    // Its record is `34 comment=...`, and begins three bytes before the key.
    const bytes = Buffer.from(packed({}, '--format=pax', '--pax-option=comment:=abcdefghijklmnopqrstuvw'))
    bytes.write('9999 comment', bytes.indexOf('comment=') - 3, 'latin1')
    await refused(bytes, 'BAD_INPUT', /the pax header at byte \d+ has a record that is none/)
  })
})
