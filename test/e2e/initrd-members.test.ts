/**
 * Debian's kernel unpacks an initramfs of one member per codec, uncompressed ones between them, each over several blocks of
 * its format, and finds everything that stands behind each of them.
 */
import { createHash } from 'node:crypto'
import { copyFileSync, existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { content, pack } from '../codecs/stream-support.ts'
import { hasXz } from '../codecs/xz-package.ts'
import { oracle, runOk } from '../oracles/tools.ts'
import { generatedClosure, storePathNamed, storePaths } from './closures.ts'
import { bootKernel } from './qemu.ts'

const live = generatedClosure('live')
/** Name of the kernel's store path, whatever its version is. */
const kernelName = (): string =>
  storePaths(live.folder)
    .find((path) => /^.{43}-linux-/.test(path))
    ?.slice(44) ?? 'linux'
const BUSYBOX = 'busybox-static-1.35.0'
const skip = live.skip || !hasXz || oracle('qemu-system-x86_64', 'cpio').skip
const MIB = 1 << 20

/** Prints every file below /members with its checksum. */
const INIT = `#!/bin/busybox sh
cd /members
for name in *; do
  set -- $(/bin/busybox md5sum "$name")
  echo "MEMBER $name $1"
done
echo MEMBERS-END
/bin/busybox poweroff -f
`

/** In the order in which they stand. Sizes go beyond a block, and for zstd beyond a job of libzstd's threads. */
const MEMBERS = [
  { spec: 'none', size: 1000 },
  { spec: 'lz4', size: 9 * MIB },
  { spec: 'gzip:1', size: 2 * MIB },
  { spec: 'none', size: 1001 },
  { spec: 'lz4:hc', size: 100_001 },
  { spec: 'lz4', size: 1003 },
  { spec: 'zstd:3', size: 18 * MIB },
  { spec: 'zstd:19', size: 30_000 },
  { spec: 'xz:0', size: 3 * MIB },
  { spec: 'gzip:9', size: 1005 },
  { spec: 'xz:6', size: 20_000 },
  { spec: 'none', size: 1007 },
  { spec: 'lz4', size: 1009 },
] as const

describe.skipIf(skip)('an initramfs of members of all codecs', () => {
  const store = (name: string): string => join(live.root, storePathNamed(live.folder, name))
  const names = MEMBERS.map(({ spec }, index) => `${String(index).padStart(2, '0')}-${spec.replace(':', '-')}`)
  let work: string
  const archives: Buffer[] = []
  const lines: RegExp[] = []

  /** A cpio archive of a folder, by GNU cpio. */
  const archive = (folder: string): Buffer => {
    const find = runOk('find', ['.', '-mindepth', '1', '-print0'], { cwd: folder }).stdout
    return runOk('cpio', ['--quiet', '-o', '-0', '-H', 'newc', '-R', '+0:+0'], { cwd: folder, input: find }).stdout
  }
  /** Each member from a multiple of four bytes on, as boot loaders and `kilnix initrd` put them. */
  const boot = (members: readonly Buffer[]): Promise<{ readonly serial: string; readonly report: string; readonly ok: boolean }> => {
    const initrd = join(work, 'initrd')
    const padding = (bytes: Buffer): Buffer => Buffer.alloc(-bytes.length & 3)
    writeFileSync(initrd, Buffer.concat(members.flatMap((bytes) => [bytes, padding(bytes)])))
    const kernel = { kernel: join(store(kernelName()), 'bzImage'), initrd, commandLine: 'console=ttyS0 panic=-1' }
    return bootKernel(kernel, { memoryMiB: 1024, timeoutSeconds: 200, expect: [/MEMBERS-END/] })
  }
  const stream = (index: number, isLastMember = false): Promise<Buffer> =>
    pack(archives[index] ?? Buffer.alloc(0), MEMBERS[index]?.spec ?? 'none', {}, { isLastMember })

  beforeAll(async () => {
    work = await mkdtemp(join(tmpdir(), 'kilnix-members-'))
    for (const [index, { size }] of MEMBERS.entries()) {
      const folder = join(work, names[index] ?? '')
      mkdirSync(join(folder, 'members'), { recursive: true })
      const bytes = content(size)
      writeFileSync(join(folder, 'members', names[index] ?? ''), bytes)
      lines.push(new RegExp(`MEMBER ${names[index]} ${createHash('md5').update(bytes).digest('hex')}`))
      if (index === 0) {
        mkdirSync(join(folder, 'bin'))
        copyFileSync(join(store(BUSYBOX), 'bin/busybox'), join(folder, 'bin/busybox'))
        writeFileSync(join(folder, 'init'), INIT, { mode: 0o755 })
      }
      archives.push(archive(folder))
    }
    expect(existsSync(join(store(kernelName()), 'bzImage'))).toBe(true)
  })
  afterAll(async () => {
    await rm(work, { recursive: true, force: true })
  })

  it('is unpacked, all of it', async () => {
    const members = await Promise.all(MEMBERS.map((_, index) => stream(index, index === MEMBERS.length - 1)))
    const result = await boot(members)
    expect(result.ok, result.report).toBe(true)
    expect(
      lines.filter((line) => !line.test(result.serial)),
      result.report,
    ).toEqual([])
    expect(result.serial).not.toContain('unpacking failed')
  }, 500_000)

  it('lacks what stands behind an lz4 member without its zeros', async () => {
    const members = await Promise.all([stream(0), stream(5, true), stream(9)])
    const result = await boot(members)
    const found = [0, 5, 9].map((index) => lines[index]?.test(result.serial))
    expect(found, result.report).toEqual([true, true, false])
    expect(result.serial).toContain('unpacking failed')
  }, 500_000)
})
