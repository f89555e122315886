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

  it.concurrent(
    'boots by its own systemd-boot and is whole',
    async () => {
      const iso = join(work, 'uefi.iso')
      await kilnix('iso', ...input, '--timeout', '1', '-o', iso)
      const expected = [/KILNIX-SMALL system=.* firmware=uefi/, /KILNIX-SMALL store-ok files=\d+ links=\d+/]
      const result = await bootImage(iso, { firmware: 'uefi', media: 'cdrom', memoryMiB: 512, expect: expected })
      expect(result.ok, result.report).toBe(true)
      expect(result.serial).not.toContain('small.verbose')
    },
    TEST_TIMEOUT,
  )

  for (const { firmware, after } of [
    { firmware: 'uefi', after: /Boot in \d+ s/ },
    { firmware: 'bios', after: /Automatic boot in/ },
  ] as const) {
    it.skipIf(!syslinux).concurrent(
      `boots the specialisation that is chosen in the menu, by ${firmware}`,
      async () => {
        const iso = join(work, `menu-${firmware}.iso`)
        await kilnix('iso', ...input, '--syslinux', '/usr/lib', '--timeout', String(MENU_SECONDS), '-o', iso)
        const expected = [/KILNIX-SMALL system=.*-small-verbose-.* cmdline=.*small\.verbose/, /KILNIX-SMALL store-ok files=\d+/]
        const keys = { after, names: ['down', 'ret'] }
        const result = await bootImage(iso, { firmware, media: 'virtio', memoryMiB: 512, expect: expected, keys })
        expect(result.ok, result.report).toBe(true)
      },
      TEST_TIMEOUT,
    )
  }
})
