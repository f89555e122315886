/** The closure that is checked in, from the repository to a running system: nothing is needed but QEMU. */
import { existsSync, readFileSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { removeStore, unpackSmall } from '../../fixtures/unpack.ts'
import { mbrDisk, PARTITION_TYPE } from '../../src/disks/mbr/index.ts'
import { fat } from '../../src/filesystems/fat/index.ts'
import { saveImage } from '../../src/io/output.ts'
import { mergeTrees, treeAt } from '../../src/tree/merge.ts'
import type { DirectoryNode, FileNode } from '../../src/tree/tree.ts'
import { tinyInitrd } from '../boot/tiny-initrd.ts'
import { oracle } from '../oracles/tools.ts'
import { readIso } from '../readers/iso9660-reader.ts'
import { kilnix } from './kilnix.ts'
import { bootImage } from './qemu.ts'

const MINUTES = 60_000
const TEST_TIMEOUT = 30 * MINUTES
const MENU_SECONDS = 30
const MEBIBYTE = 1 << 20
const ATTRIBUTES = { mode: 0o755, uid: 0, gid: 0, mtimeSeconds: 0 } as const
const syslinux = existsSync('/usr/lib/ISOLINUX/isolinux.bin') || process.env.CI === 'true'

describe.skipIf(oracle('qemu-system-x86_64').skip)('the ISO of the small closure', () => {
  let work: string
  let iso: string
  let input: readonly string[]
  beforeAll(async () => {
    work = await mkdtemp(join(tmpdir(), 'kilnix-small-'))
    const { folder, root } = await unpackSmall(join(work, 'closure'))
    iso = join(work, 'menu.iso')
    const options = ['--timeout', String(MENU_SECONDS), '--hybrid', 'nixpkgs']
    input = ['--closure', folder, '--root', root, '--compression', 'zstd:3']
    if (syslinux) await kilnix('iso', ...input, '--syslinux', '/usr/lib', ...options, '-o', iso)
  })
  afterAll(async () => {
    await removeStore(work)
  })

  // That the first entry comes without a key, and from which media, is seen with the live system and kilnix's own hybrid records; an
  // image that has nothing but systemd-boot boots in replace.test.ts.
  for (const { firmware, after } of [
    { firmware: 'uefi', after: /Boot in \d+ s/ },
    { firmware: 'bios', after: /Automatic boot in/ },
  ] as const) {
    it.skipIf(!syslinux).concurrent(
      `with nixpkgs' hybrid records boots the specialisation that is chosen in the menu from a USB stick and is whole, by ${firmware}`,
      async () => {
        const expected = [
          new RegExp(`KILNIX-SMALL system=.*-small-verbose-.* firmware=${firmware}`),
          /KILNIX-SMALL .*cmdline=.*small\.verbose/,
          /KILNIX-SMALL store-ok files=\d+ links=\d+/,
        ]
        const keys = { after, names: ['down', 'ret'] }
        const result = await bootImage(iso, { firmware, media: 'usb', memoryMiB: 512, expect: expected, keys })
        expect(result.ok, result.report).toBe(true)
      },
      TEST_TIMEOUT,
    )
  }

  it.concurrent(
    'starts by UEFI when its files are copied to a stick with FAT',
    async () => {
      const file = join(work, 'copied.iso')
      await kilnix('iso', ...input, '--volume-id', 'NIXOSLIVE', '--timeout', '0', '-o', file)
      const bytes = readFileSync(file)
      const iso = readIso((position, length) => bytes.subarray(position, position + length))
      // The system's own stage 1 looks for an ISO; that of the copy says its command line.
      const tiny = tinyInitrd(join(work, 'tiny'), join(work, 'closure', 'root'))
      const left = /^\/(?:nix-store\.squashfs|boot\/efi\.img|boot\/nix\/.*)$/
      const files = iso.primary.entries.filter(({ path, kind }) => kind === 'file' && !left.test(path))
      const [first, ...others] = files.map((entry) => {
        const content = entry.path.endsWith('-initrd.efi') ? tiny : iso.content(entry)
        const node: FileNode = { kind: 'file', ...ATTRIBUTES, size: content.length, content: { kind: 'bytes', bytes: content } }
        return treeAt(entry.path, node, ATTRIBUTES)
      })
      const volume = fat(mergeTrees(first as DirectoryNode, ...others), { label: 'NIXOSLIVE', roundTo: MEBIBYTE })
      const start = MEBIBYTE
      const stick = mbrDisk([{ active: true, type: PARTITION_TYPE.fat32Lba, start, size: volume.size, image: volume }], {
        size: start + volume.size,
        diskSignature: 1,
      })
      await saveImage(stick, join(work, 'stick.img'), {})
      const expected = [/KILNIX-TINY .*init=\/nix\/store\/\S+-nixos-system-small-\S+\/init .*root=LABEL=NIXOSLIVE/]
      const result = await bootImage(join(work, 'stick.img'), { firmware: 'uefi', media: 'usb', memoryMiB: 512, expect: expected })
      expect(result.ok, result.report).toBe(true)
    },
    TEST_TIMEOUT,
  )
})
