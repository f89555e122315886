/**
 * The live system's ISO boots everywhere, and in it the real Nix says that the store is whole. The system also compares every
 * file, mode and link with lists that were made when it was built; see fixtures/live. One boot checks all, the others a sample. By
 * SeaBIOS from a CD it boots with one byte damaged, and finds that byte and nothing else. The hybrid records of nixpkgs boot in
 * small-iso.test.ts.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { oracle } from '../oracles/tools.ts'
import { generatedClosure, storePaths } from './closures.ts'
import { complaintsIn, DAMAGE_COMPLAINTS, damagedContent, damagedCopy, damagedLines } from './damage.ts'
import { kilnix } from './kilnix.ts'
import { bootImage, type Firmware, type Media } from './qemu.ts'

const live = generatedClosure('live')
const skip = live.skip || oracle('qemu-system-x86_64').skip
const MINUTES = 60_000
const BOOT_SECONDS = 400
/** Two machines run at a time, and a test may have to wait for its turn. */
const TEST_TIMEOUT = 30 * MINUTES
const MEDIUM: Readonly<Record<Media, string>> = { cdrom: '/dev/sr0 ', usb: '/dev/sda', virtio: '/dev/vda' }

describe.skipIf(skip)('the ISO of the live system', () => {
  let work: string
  const iso = (name: string): string => join(work, `${name}.iso`)
  const build = async (name: string, ...options: string[]): Promise<void> => {
    const input = ['--closure', live.folder, '--root', live.root]
    await kilnix('iso', ...input, '--syslinux', '/usr/lib', '--compression', 'zstd:3', '--timeout', '1', ...options, '-o', iso(name))
  }

  beforeAll(async () => {
    work = await mkdtemp(join(tmpdir(), 'kilnix-live-'))
    await build('default')
    await damagedCopy(iso('default'), iso('damaged'), damagedContent(live))
  }, 10 * MINUTES)
  afterAll(async () => {
    await rm(work, { recursive: true, force: true })
  })

  const starts = (firmware: Firmware, media: Media, checked: 'all' | 'sample'): RegExp[] => [
    new RegExp(`LIVE-INFO system=.* firmware=${firmware} kind=iso medium=${MEDIUM[media]}`),
    new RegExp(`LIVE-INFO checked=${checked} `),
    /LIVE-INFO database=loaded from \/nix\/store\/nix-path-registration/,
  ]

  const boots: readonly { image: string; firmware: Firmware; media: Media; checked?: 'all' }[] = [
    { image: 'default', firmware: 'bios', media: 'usb' },
    { image: 'default', firmware: 'uefi', media: 'cdrom', checked: 'all' },
    { image: 'default', firmware: 'uefi', media: 'usb' },
  ]
  for (const { image, firmware, media, checked = 'sample' } of boots) {
    it.concurrent(
      `(${image}) boots by ${firmware} from ${media} and is whole`,
      async () => {
        const result = await bootImage(iso(image), {
          firmware,
          media,
          timeoutSeconds: BOOT_SECONDS,
          sample: checked === 'sample',
          expect: [
            ...starts(firmware, media, checked),
            new RegExp(`LIVE-CHECK paths=${storePaths(live.folder).length} verify=ok files=\\d+ objects=\\d+ mismatches=0`),
            /LIVE-CHECK RESULT ok/,
          ],
        })
        expect(result.ok, result.report).toBe(true)
      },
      TEST_TIMEOUT,
    )
  }

  it.concurrent(
    '(damaged) boots by bios from cdrom and fails that check for the file of which one byte is another',
    async () => {
      const result = await bootImage(iso('damaged'), {
        firmware: 'bios',
        media: 'cdrom',
        timeoutSeconds: BOOT_SECONDS,
        sample: true,
        expect: [...starts('bios', 'cdrom', 'sample'), ...damagedLines(live, storePaths(live.folder).length)],
      })
      expect(result.ok, result.report).toBe(true)
      expect(complaintsIn(result.serial), result.report).toEqual(DAMAGE_COMPLAINTS)
    },
    TEST_TIMEOUT,
  )
})
