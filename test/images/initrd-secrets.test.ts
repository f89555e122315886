/** Secrets that a system appends to its initrd: needed and not given, given, not needed, not wanted; in every kind of image. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { cpio } from '../../src/archives/cpio/index.ts'
import { diskBoot } from '../../src/images/disk/boot.ts'
import type { BootLoader } from '../../src/images/disk/names.ts'
import { type IsoOptions, iso } from '../../src/images/iso.ts'
import { netboot } from '../../src/images/netboot/index.ts'
import type { Image } from '../../src/io/image.ts'
import { imageChunks } from '../../src/io/stream.ts'
import { loadClosure } from '../../src/system/store.ts'
import { systemOf } from '../../src/system/system.ts'
import type { FileNode, TreeNode } from '../../src/tree/tree.ts'
import { failure } from '../nix/scratch.ts'
import { readCpio } from '../readers/cpio-reader.ts'
import { type MadeSystem, madeSystem, PARTS, SYSTEM } from './made-system.ts'

const folder = mkdtempSync(join(tmpdir(), 'kilnix-secrets-'))
afterAll(() => rmSync(folder, { recursive: true }))

/** As nixpkgs writes it, but for the programs. */
const appender = (secrets: string): string => `#!/bin/bash -e
function usage {
  echo "USAGE: $0 INITRD_FILE" >&2
}
${secrets === '' ? 'exit 0' : ''}
tmp=$(mktemp -d \${TMPDIR:-/tmp}/initrd-secrets.XXXXXXXXXX)
${secrets}
(cd "$tmp" && find . -mindepth 1 -print0) | gzip >> "$1"
`
const NEEDED = appender(`mkdir -p $(dirname "$tmp/.initrd-secrets//etc/keys/luks")
cp -a /persist/luks "$tmp/.initrd-secrets//etc/keys/luks"

mkdir -p $(dirname "$tmp/.initrd-secrets/ssh key")
cp -a '/persist/ssh key' "$tmp/.initrd-secrets/ssh key"
`)

let count = 0
const made = (script: string | undefined, system: MadeSystem = {}) => {
  const fields = script === undefined ? {} : { initrdSecrets: `${PARTS}/bin/append-initrd-secrets` }
  const files = script === undefined ? {} : { [`${PARTS}/bin/append-initrd-secrets`]: script }
  return madeSystem(join(folder, `root-${count++}`), { fields, files, ...system })
}
const given = join(folder, 'given')
mkdirSync(join(given, 'etc/keys'), { recursive: true })
writeFileSync(join(given, 'etc/keys/luks'), 'a key\n', { mode: 0o400 })
writeFileSync(join(given, 'ssh key'), 'another\n', { mode: 0o600 })

type Options = ReturnType<typeof made>['options'] & Pick<IsoOptions, 'initrdSecrets' | 'withoutInitrdSecrets'>
const bootOf = async (options: Options, loader: BootLoader) =>
  diskBoot(await systemOf(await loadClosure(options), {}), {
    ...options,
    loader,
    layout: loader === 'extlinux' ? 'legacy' : 'efi',
    mtimeSeconds: 1,
  })
const COMMANDS: Readonly<Record<string, (options: Options) => Promise<unknown>>> = {
  iso: (options) => iso(options),
  netboot: (options) => netboot(options),
  'disk with systemd-boot': (options) => bootOf(options, 'systemd-boot'),
  'disk with extlinux': (options) => bootOf(options, 'extlinux'),
}

const bytesOf = async (image: Image): Promise<Buffer> => {
  const chunks: Uint8Array[] = []
  for await (const chunk of imageChunks(image)) chunks.push(Buffer.from(chunk))
  return Buffer.concat(chunks)
}

/** Of the archive behind the initrd, which has ten bytes. */
const namesIn = (initrd: Buffer): string[] =>
  readCpio(initrd.subarray(12)).flatMap(({ entries }) => entries.map(({ name }) => name.toString()))

function filesIn(node: TreeNode | undefined, path = ''): Map<string, FileNode> {
  if (node?.kind === 'directory')
    return new Map(node.entries.flatMap((entry) => [...filesIn(entry.node, `${path}/${Buffer.from(entry.name)}`)]))
  return node?.kind === 'file' ? new Map([[path, node]]) : new Map()
}

describe.each(Object.entries(COMMANDS))('%s', (_name, make) => {
  it('refuses a system that needs secrets, and says which', async () => {
    const error = await failure(
      () => make(made(NEEDED).options),
      'NOT_FOUND',
      /appends secrets to the initrd where the system is installed/,
    )
    expect(error.message).toContain(': /etc/keys/luks, /ssh key; give them with initrdSecrets, or say withoutInitrdSecrets')
  })

  it('takes them, with a note, or goes without', async () => {
    const system = made(NEEDED)
    await make({ ...system.options, initrdSecrets: given })
    expect(system.notes).toEqual([expect.stringContaining(`the secrets of ${given} are in what is written: whoever can read it`)])
    const without = made(NEEDED)
    await make({ ...without.options, withoutInitrdSecrets: true })
    expect(without.notes).toEqual([])
  })

  it('asks for nothing where nothing is needed', async () => {
    for (const script of [undefined, appender('')]) {
      const system = made(script)
      await make(system.options)
      expect(system.notes).toEqual([])
    }
  })

  it('looks at specialisations, and fears programs that it does not know', async () => {
    if (make !== COMMANDS.netboot) {
      const system = made(undefined, {
        specialisations: { x: { fields: { initrdSecrets: `${PARTS}/append` } } },
        files: { [`${PARTS}/append`]: NEEDED },
      })
      await failure(() => make(system.options), 'NOT_FOUND', /luks/)
    }
    await failure(() => make(made('\x7fELF').options), 'NOT_FOUND', /where the system is installed; give them/)
  })
})

describe('what is given', () => {
  const run = (changes: Partial<Options>) => () => netboot({ ...made(NEEDED).options, ...changes })

  it('has to be all that is needed, and something', async () => {
    const part = join(folder, 'part')
    mkdirSync(part)
    await failure(run({ initrdSecrets: part }), 'BAD_INPUT', /is empty/)
    writeFileSync(join(part, 'ssh key'), '')
    const error = await failure(run({ initrdSecrets: part }), 'NOT_FOUND', /missing/)
    expect(error.message).toBe(`secrets of the initrd are missing: ${part}/etc/keys/luks`)
    await failure(run({ initrdSecrets: join(folder, 'nowhere') }), 'NOT_FOUND', /nowhere/)
    await failure(run({ initrdSecrets: given, withoutInitrdSecrets: true }), 'USAGE', /exclude each other/)
    await failure(() => netboot({ ...made(NEEDED).options, initrdSecrets: given, style: 'per-path' }), 'USAGE', /without a stage 1/)
    await failure(() => bootOf({ ...made(NEEDED).options, initrdSecrets: given }, 'none'), 'USAGE', /nothing is written that loads them/)
    await bootOf(made(NEEDED).options, 'none')
  })

  it('is taken where nobody asks for it, which is said', async () => {
    const system = made(undefined)
    await netboot({ ...system.options, initrdSecrets: given })
    expect(system.notes[0]).toContain(`no initrd of ${SYSTEM} asks for secrets`)
  })

  it('may be an archive, which has to be one', async () => {
    const archive = join(folder, 'archive')
    writeFileSync(archive, await bytesOf(cpio({ kind: 'directory', mode: 0o755, uid: 0, gid: 0, mtimeSeconds: 0, entries: [] })))
    await run({ initrdSecrets: archive })()
    writeFileSync(archive, 'no archive')
    await failure(run({ initrdSecrets: archive }), 'BAD_INPUT', /is no cpio archive/)
  })
})

describe('the archive', () => {
  it('is made as the appender makes it, and loaded behind the initrd', async () => {
    const { options } = made(NEEDED)
    const files = filesIn((await bootOf({ ...options, initrdSecrets: given }, 'systemd-boot')).esp)
    const entry = [...files].find(([path]) => path.startsWith('/loader/entries/nixos-'))?.[1]
    const text = entry?.content.kind === 'bytes' ? Buffer.from(entry.content.bytes).toString() : ''
    expect(text).toMatch(/\ninitrd \/EFI\/nixos\/2{32}-parts-initrd\.efi\ninitrd \/EFI\/nixos\/initrd-secrets\.efi\noptions /)
    const secrets = files.get('/EFI/nixos/initrd-secrets.efi')
    if (secrets?.content.kind !== 'image') throw new Error('no archive')
    expect(secrets.mode).toBe(0o400)
    const [member] = readCpio(await bytesOf(secrets.content.image))
    const records = (member?.entries ?? []).map(({ name, mode, uid, gid, mtime, data }) => [
      name.toString(),
      mode & 0o777,
      uid,
      gid,
      mtime,
      data.length,
    ])
    expect(records.filter(([, , , , , size]) => size !== 0)).toEqual([
      ['.initrd-secrets/etc/keys/luks', 0o400, 0, 0, 0, 6],
      ['.initrd-secrets/ssh key', 0o600, 0, 0, 0, 8],
    ])
  })

  it('is one file with the initrd for U-Boot, which nobody but root may read', async () => {
    const { options } = made(NEEDED)
    const files = filesIn((await bootOf({ ...options, initrdSecrets: given }, 'extlinux')).rootBoot)
    const joined = [...files].find(([path]) => /^\/nixos\/[0-9a-f]{32}-initrds$/.test(path))?.[1]
    if (joined?.content.kind !== 'image') throw new Error('no initrd')
    expect(joined.mode).toBe(0o400)
    const bytes = await bytesOf(joined.content.image)
    expect(bytes.subarray(0, 10).toString()).toBe('the initrd')
    expect(namesIn(bytes)).toContain('.initrd-secrets/ssh key')
  })

  it('lies in an ISO beside the kernel', async () => {
    const { options } = made(NEEDED)
    const { plan } = await iso({ ...options, initrdSecrets: given })
    expect(JSON.stringify(plan.layout)).toContain('/EFI/nixos/initrd-secrets.efi')
  })

  it('comes behind the initrd of a network boot', async () => {
    const { options } = made(NEEDED)
    const product = await netboot({ ...options, initrdSecrets: given, style: 'manifest' })
    const files = await product.files({ jobs: 1, threads: 'none' })
    const initrd = files.find(({ path }) => path === 'initrd')
    if (initrd?.content.kind !== 'image' || !('extents' in initrd.content.image)) throw new Error('no initrd')
    expect(namesIn(await bytesOf(initrd.content.image))).toContain('.initrd-secrets/ssh key')
    await product.close()
  })
})
