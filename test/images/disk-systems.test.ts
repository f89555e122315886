/** Systems that are not like most: other machines, no initrd, odd names, files that FAT cannot hold. */
import { mkdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { removeStore, unpackSmall } from '../../fixtures/unpack.ts'
import { type DiskOptions, disk } from '../../src/images/disk/index.ts'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kilnix-systems-'))
})
afterAll(() => removeStore(folder))

const SYSTEM = `/nix/store/${'1'.repeat(32)}-system`
const PARTS = `/nix/store/${'2'.repeat(32)}-parts`

interface SystemOptions {
  readonly system?: string
  readonly initrd?: boolean
  readonly label?: string
  readonly specialisations?: readonly string[]
}

let count = 0
/** A closure of two paths whose hashes are not checked: the system, and all files it needs. */
function closureOf(files: Readonly<Record<string, number>>, options: SystemOptions = {}): DiskOptions {
  const { system = 'x86_64-linux', initrd = true, label = 'NixOS', specialisations = [] } = options
  const root = join(folder, `root-${count++}`)
  const spec = (name: string) => ({
    init: `${SYSTEM}/init`,
    ...(initrd && { initrd: `${PARTS}/initrd` }),
    kernel: `${PARTS}/kernel`,
    kernelParams: ['quiet'],
    label: `${label}${name}`,
    system,
    toplevel: SYSTEM,
  })
  const bootJson = {
    'org.nixos.bootspec.v1': spec(''),
    'org.nixos.specialisation.v1': Object.fromEntries(
      specialisations.map((name) => [name, { 'org.nixos.bootspec.v1': spec(` ${name.length}`), 'org.nixos.specialisation.v1': {} }]),
    ),
  }
  mkdirSync(join(root, SYSTEM), { recursive: true })
  mkdirSync(join(root, PARTS))
  writeFileSync(join(root, SYSTEM, 'boot.json'), JSON.stringify(bootJson))
  writeFileSync(join(root, SYSTEM, 'init'), '')
  for (const [name, size] of Object.entries({ [`${PARTS}/kernel`]: 70_000, ...(initrd && { [`${PARTS}/initrd`]: 100 }), ...files })) {
    mkdirSync(dirname(join(root, name)), { recursive: true })
    writeFileSync(join(root, name), '')
    truncateSync(join(root, name), size)
  }
  const entry = (path: string, references: readonly string[]) =>
    `${path}\n${'sha256:'.padEnd(59, '0')}\n96\n\n${references.length}\n${references.map((one) => `${one}\n`).join('')}`
  const closure = join(root, 'registration')
  writeFileSync(closure, `${entry(PARTS, [])}${entry(SYSTEM, [PARTS])}`)
  return { closure, root, verify: false, freeSize: 0, espSize: 40 << 20 }
}

const bootFile = (name: string): Record<string, number> => ({ [`${SYSTEM}/systemd/lib/systemd/boot/efi/${name}`]: 1000 })
const planOf = async (options: DiskOptions) => (await disk(options)).plan

describe('a system', () => {
  it.each([
    ['x86_64-linux', 'systemd-bootx64.efi'],
    ['i686-linux', 'systemd-bootia32.efi'],
    ['aarch64-linux', 'systemd-bootaa64.efi'],
  ])('of %s boots by %s', async (system, program) => {
    expect(await planOf(closureOf(bootFile(program), { system }))).toMatchObject({ system, entries: [expect.stringMatching(/\.conf$/)] })
    await expect(planOf(closureOf(bootFile('systemd-bootriscv64.efi'), { system }))).rejects.toMatchObject({
      code: 'NOT_FOUND',
      message: expect.stringContaining('the closure has no systemd-boot; use bootLoader extlinux or none'),
    })
  })

  it('without an initrd has entries without one', async () => {
    const options = closureOf(bootFile('systemd-bootx64.efi'), { initrd: false })
    expect((await planOf(options)).entries).toHaveLength(1)
    expect(await planOf({ ...options, bootLoader: 'extlinux' })).toMatchObject({ entries: ['nixos-default'] })
  })

  it('with specialisations whose names no FAT can hold', async () => {
    const specialisations = ['a\\b', 'a:b', 'ÄÖ', 'con', 'x'.repeat(250)]
    expect((await planOf(closureOf(bootFile('systemd-bootx64.efi'), { specialisations }))).entries).toHaveLength(6)
  })

  it.each([
    ['a line break', 'one\ntwo'],
    ['an escape', 'one\x1b[2J'],
  ])('with %s in its label is refused', async (_, label) => {
    await expect(planOf(closureOf(bootFile('systemd-bootx64.efi'), { label }))).rejects.toMatchObject({
      code: 'BAD_INPUT',
      message: expect.stringContaining('label'),
    })
  })

  it('with an initrd of 4 GiB does not fit on FAT, whatever its size', async () => {
    const files = { ...bootFile('systemd-bootx64.efi'), [`${PARTS}/initrd`]: 2 ** 32 }
    await expect(planOf({ ...closureOf(files), espSize: 6 * 2 ** 30 })).rejects.toMatchObject({
      code: 'LIMIT',
      message: expect.stringMatching(/initrd.*4294967296 bytes, FAT allows 4 GiB - 1/),
    })
    const almost = closureOf({ ...files, [`${PARTS}/initrd`]: 2 ** 32 - 1 })
    expect((await planOf({ ...almost, espSize: 6 * 2 ** 30 })).entries).toHaveLength(1)
    await expect(planOf(almost)).rejects.toMatchObject({
      code: 'LIMIT',
      message: expect.stringMatching(/give espSize \d+M or more, which leaves room for the next system \(\d+M for this one alone\)$/),
    })
    // ext4 holds it.
    expect((await planOf({ ...closureOf(files), layout: 'legacy+gpt', bootLoader: 'extlinux' })).entries).toHaveLength(1)
  })

  it('with names of unified kernel images that FAT cannot hold or tell apart', async () => {
    const small = await unpackSmall(join(folder, 'small'))
    const systemd = small.storePaths.find((path) => path.includes('-systemd-')) ?? ''
    const boot = join(small.root, systemd, 'lib/systemd/boot/efi')
    const unified = (specialisations: readonly string[]): DiskOptions => {
      const options = closureOf({ ...bootFile('systemd-bootx64.efi'), ...bootFile('linuxx64.efi.stub') }, { specialisations })
      const stub = `${options.root}${SYSTEM}/systemd/lib/systemd/boot/efi/linuxx64.efi.stub`
      writeFileSync(stub, readFileSync(join(boot, 'linuxx64.efi.stub')))
      return { ...options, bootLoader: 'uki' }
    }
    const name = (text: string): string => `nixos-generation-1-specialisation-${text}.efi`
    const { entries } = await planOf(unified(['a b', 'a:b', 'a_b']))
    expect(entries).toEqual([
      'nixos-generation-1.efi',
      expect.stringMatching(/-a_b-[0-9a-f]{8}\.efi$/),
      expect.stringMatching(/-a_b-[0-9a-f]{8}\.efi$/),
      name('a_b'),
    ])
    expect(new Set(entries).size).toBe(4)
    await expect(planOf(unified(['a_b', 'A_b']))).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      message: expect.stringContaining('differ in case only'),
    })
    await expect(planOf(unified(['x'.repeat(230)]))).rejects.toMatchObject({ code: 'LIMIT' })
  })
})
