/**
 * The live system boots over the network in every style, and in it the real Nix says that the store is whole; see
 * fixtures/live. Folders are booted by the real iPXE in a network card's ROM, as the server is. All paths are checked in the style
 * that nothing else boots, else a sample; one folder is damaged, and the system finds that byte and nothing else.
 */
import { existsSync } from 'node:fs'
import { mkdtemp, rename, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { oracle } from '../oracles/tools.ts'
import { generatedClosure, storePathNamed, storePaths } from './closures.ts'
import { complaintsIn, DAMAGE_COMPLAINTS, damagedContent, damagedCopy, damagedLines } from './damage.ts'
import { kilnix, kilnixServe } from './kilnix.ts'
import { bootNetwork, type Firmware } from './qemu.ts'

const live = generatedClosure('live')
const skip = live.skip || oracle('qemu-system-x86_64').skip
const MINUTES = 60_000
const BOOT_SECONDS = 400
/** Two machines run at a time, and a test may have to wait for its turn. */
const TEST_TIMEOUT = 30 * MINUTES
const ipxe = existsSync('/usr/lib/ipxe/qemu/efi-virtio.rom') || process.env.CI === 'true'

/** What each is seen as by the system; `store` is mode and owner of /nix/store, which in `per-path` no stage 1 has made. */
const STYLES = {
  single: { kind: 'netboot', store: '755 0:0', database: 'loaded from /nix/store/nix-path-registration' },
  manifest: { kind: 'manifest', store: '755 0:0', database: 'loaded from /nix/registration' },
  'per-path': { kind: 'rootfs', store: '1775 0:30000', database: 'loaded by /nix/.nix-netboot-serve-db/register' },
} as const
type Style = keyof typeof STYLES

/** The lines of a system that has started and looks at its store. */
function starts(style: Style, firmware: Firmware, checked: 'all' | 'sample'): RegExp[] {
  const { kind, store, database } = STYLES[style]
  return [
    new RegExp(`LIVE-INFO system=.* firmware=${firmware} kind=${kind} medium=initrd`),
    new RegExp(`LIVE-INFO folders=/ 755 0:0; /nix 755 0:0; /nix/store ${store};`),
    new RegExp(`LIVE-INFO checked=${checked} `),
    new RegExp(`LIVE-INFO database=${database}\\r`),
  ]
}

/** The same, and the store is whole. */
function whole(style: Style, firmware: Firmware, checked: 'all' | 'sample'): RegExp[] {
  return [
    ...starts(style, firmware, checked),
    new RegExp(`LIVE-CHECK paths=${storePaths(live.folder).length} verify=ok files=\\d+ objects=\\d+ mismatches=0 `),
    /LIVE-CHECK RESULT ok/,
  ]
}

describe.skipIf(skip)('the live system over the network', () => {
  const input = ['--closure', live.folder, '--root', live.root, '--compression', 'zstd:3']
  let work: string
  const folder = (name: string): string => join(work, name)
  const build = async (name: string, ...options: string[]): Promise<void> => {
    await kilnix('netboot', ...input, ...options, '-o', folder(name))
  }
  beforeAll(async () => {
    work = await mkdtemp(join(tmpdir(), 'kilnix-netboot-'))
    await build('manifest', '--style', 'manifest')
    await build('quiet', '--specialisation', 'quiet', '--kernel-param', 'live.gap="two  blanks"', '--kernel-param', 'live.last')
    await damagedCopy(join(folder('quiet'), 'initrd'), folder('damaged'), damagedContent(live))
    await rename(folder('damaged'), join(folder('quiet'), 'initrd'))
  }, 10 * MINUTES)
  afterAll(async () => {
    await rm(work, { recursive: true, force: true })
  })

  it.skipIf(!ipxe).concurrent(
    '(manifest) is whole when iPXE fetches it by TFTP, by uefi with virtio-net-pci',
    async () => {
      // Three initrds, which the kernel itself fetches from iPXE and joins without a gap
      const result = await bootNetwork(
        { tftpFolder: folder('manifest'), script: 'netboot.ipxe' },
        {
          firmware: 'uefi',
          card: 'virtio-net-pci',
          timeoutSeconds: BOOT_SECONDS,
          expect: whole('manifest', 'uefi', 'all'),
        },
      )
      expect(result.ok, result.report).toBe(true)
    },
    TEST_TIMEOUT,
  )

  // The folder of this style holds what is served: test/faults/serve.test.ts.
  it.skipIf(!ipxe).concurrent(
    '(per-path) is whole when iPXE fetches it from kilnix serve, by bios with virtio-net-pci',
    async () => {
      const server = await kilnixServe(...input, '--style', 'per-path')
      try {
        const result = await bootNetwork(
          { url: server.url },
          {
            firmware: 'bios',
            card: 'virtio-net-pci',
            timeoutSeconds: BOOT_SECONDS,
            sample: true,
            expect: whole('per-path', 'bios', 'sample'),
          },
        )
        expect(result.ok, result.report).toBe(true)
      } finally {
        await server.close()
      }
    },
    TEST_TIMEOUT,
  )

  it.skipIf(!ipxe).concurrent(
    '(single) boots a damaged specialisation by TFTP, whose parameters iPXE hands over as they are, by bios with e1000',
    async () => {
      const system = storePathNamed(live.folder, 'nixos-system-live-quiet-26.05')
      const parameters = [
        `init=${system}/init initrd=initrd console=tty0 console=ttyS0,115200n8 loglevel=4 panic=-1 root=fstab live.entry=quiet quiet`,
        'live.note="two words" live.gap="two  blanks" live.last',
      ].join(' ')
      const result = await bootNetwork(
        { tftpFolder: folder('quiet'), script: 'netboot.ipxe' },
        {
          firmware: 'bios',
          card: 'e1000',
          timeoutSeconds: BOOT_SECONDS,
          sample: true,
          expect: [
            new RegExp(`LIVE-INFO system=${system} `),
            new RegExp(`LIVE-INFO cmdline=${parameters} ?\\r`),
            ...starts('single', 'bios', 'sample'),
            // Without the system itself and its other specialisation
            ...damagedLines(live, storePaths(live.folder).length - 2),
          ],
        },
      )
      expect(result.ok, result.report).toBe(true)
      expect(complaintsIn(result.serial), result.report).toEqual(DAMAGE_COMPLAINTS)
    },
    TEST_TIMEOUT,
  )
})
