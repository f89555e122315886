/** The closure that is checked in, from the repository to a running system: nothing is needed but QEMU. */
import { existsSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { removeStore, unpackSmall } from '../../fixtures/unpack.ts'
import { oracle } from '../oracles/tools.ts'
import { kilnix } from './kilnix.ts'
import { bootImage } from './qemu.ts'

const MINUTES = 60_000
const TEST_TIMEOUT = 30 * MINUTES
const MENU_SECONDS = 30
const syslinux = existsSync('/usr/lib/ISOLINUX/isolinux.bin') || process.env.CI === 'true'

describe.skipIf(oracle('qemu-system-x86_64').skip)('the ISO of the small closure', () => {
  let work: string
  let iso: string
  beforeAll(async () => {
    work = await mkdtemp(join(tmpdir(), 'kilnix-small-'))
    const { folder, root } = await unpackSmall(join(work, 'closure'))
    iso = join(work, 'menu.iso')
    const options = ['--compression', 'zstd:3', '--timeout', String(MENU_SECONDS), '--hybrid', 'nixpkgs']
    if (syslinux) await kilnix('iso', '--closure', folder, '--root', root, '--syslinux', '/usr/lib', ...options, '-o', iso)
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
})
