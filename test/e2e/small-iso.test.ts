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
  let input: string[]
  beforeAll(async () => {
    work = await mkdtemp(join(tmpdir(), 'kilnix-small-'))
    const { folder, root } = await unpackSmall(join(work, 'closure'))
    input = ['--closure', folder, '--root', root, '--compression', 'zstd:3']
  })
  afterAll(async () => {
    await removeStore(work)
  })

  // By UEFI nothing but the closure's own systemd-boot is in the image. That the first entry comes without a key is seen with
  // the live system.
  for (const { firmware, media, more, after } of [
    { firmware: 'uefi', media: 'cdrom', more: [], after: /Boot in \d+ s/ },
    { firmware: 'bios', media: 'virtio', more: ['--syslinux', '/usr/lib'], after: /Automatic boot in/ },
  ] as const) {
    it.skipIf(firmware === 'bios' && !syslinux).concurrent(
      `boots the specialisation that is chosen in the menu and is whole, by ${firmware}`,
      async () => {
        const iso = join(work, `menu-${firmware}.iso`)
        await kilnix('iso', ...input, ...more, '--timeout', String(MENU_SECONDS), '-o', iso)
        const expected = [
          new RegExp(`KILNIX-SMALL system=.*-small-verbose-.* firmware=${firmware}`),
          /KILNIX-SMALL .*cmdline=.*small\.verbose/,
          /KILNIX-SMALL store-ok files=\d+ links=\d+/,
        ]
        const keys = { after, names: ['down', 'ret'] }
        const result = await bootImage(iso, { firmware, media, memoryMiB: 512, expect: expected, keys })
        expect(result.ok, result.report).toBe(true)
      },
      TEST_TIMEOUT,
    )
  }
})
