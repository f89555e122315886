/** The whole closure of traps, through the command, as other people's readers and the kernel see it. */
import { existsSync } from 'node:fs'
import { chmod, copyFile, mkdir, mkdtemp, readFile, rm, rmdir, stat, symlink, unlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { removeStore, unpackSmall } from '../../fixtures/unpack.ts'
import { compareTrees } from '../oracles/compare-trees.ts'
import { oracle, run, runOk } from '../oracles/tools.ts'
import { generatedClosure, storePathNamed, storePaths } from './closures.ts'
import { damagedCopy } from './damage.ts'
import { disturbedCopy } from './disturbed-copy.ts'
import { kilnix, sha256 } from './kilnix.ts'

const traps = generatedClosure('traps')
const MINUTES = 60_000
/** The one entry of the image that is no store path. */
const REGISTRATION = 'nix-path-registration'
/** What a chroot store may hold beside store paths. */
const ignore = [REGISTRATION, '.links']

// Owners can be set, and seen to be right, by root only.
const asRoot = process.getuid?.() === 0

describe.skipIf(traps.skip || !asRoot)('the closure of traps as squashfs', () => {
  let work: string
  let image: string
  const fast = ['--closure', traps.folder, '--root', traps.root, '--compression', 'zstd:3']

  beforeAll(async () => {
    work = await mkdtemp(join(tmpdir(), 'kilnix-oracles-'))
    image = join(work, 'store.squashfs')
    await kilnix('squashfs', ...fast, '-o', image)
  }, 5 * MINUTES)
  afterAll(async () => {
    await rm(work, { recursive: true, force: true })
  })

  describe.skipIf(oracle('unsquashfs').skip)('by unsquashfs', () => {
    let unpacked: string
    beforeAll(() => {
      unpacked = join(work, 'unsquashfs')
      runOk('unsquashfs', ['-quiet', '-no-progress', '-dest', unpacked, image])
    }, 5 * MINUTES)

    it('holds every object of the store and nothing else', () => {
      expect(compareTrees(traps.store, unpacked, { ignore })).toEqual([])
    })

    it('holds the registration', async () => {
      expect(await readFile(join(unpacked, REGISTRATION), 'utf8')).toBe(await readFile(join(traps.folder, 'registration'), 'utf8'))
    })

    it(
      'differs where a byte of the image is damaged',
      async () => {
        const content = join(traps.root, storePathNamed(traps.folder, 'incompressible'), 'data')
        const damaged = await damagedCopy(image, join(work, 'damaged.squashfs'), content)
        const folder = join(work, 'damaged')
        run('unsquashfs', ['-quiet', '-no-progress', '-dest', folder, damaged])
        const path = `${basename(storePathNamed(traps.folder, 'incompressible'))}/data`
        expect(compareTrees(traps.store, folder, { ignore })).toEqual([expect.stringContaining(`${path} has other content`)])
        await rm(folder, { recursive: true })
        await rm(damaged)
      },
      2 * MINUTES,
    )

    it(
      'is compared by a judge that sees each kind of difference',
      async () => {
        const inStore = (name: string, ...rest: string[]): string => join(unpacked, basename(storePathNamed(traps.folder, name)), ...rest)
        const small = inStore('boundary-sizes', 'text/4095')
        const content = await readFile(small)
        content[4094] = (content[4094] ?? 0) ^ 1
        await writeFile(small, content)
        await chmod(inStore('boundary-sizes', 'text/4096'), 0o555)
        await writeFile(inStore('empty-file'), 'not empty')
        await writeFile(inStore('empty-directory', 'more'), '')
        await rmdir(inStore('many-empty-directories', 'd7/a/b'))
        await unlink(inStore('symlinks', 'relative'))
        await symlink('Target', inStore('symlinks', 'relative'))
        const name = (path: string): string => path.slice(unpacked.length + 1)
        expect(compareTrees(traps.store, unpacked, { ignore }).sort()).toEqual(
          [
            `${name(small)} has other content in bytes 0 to 4095`,
            `${name(inStore('boundary-sizes', 'text/4096'))} has mode 555 and should have 444`,
            `${name(inStore('empty-file'))} has 9 bytes and should have 0`,
            `${name(inStore('empty-directory', 'more'))} should not be there`,
            `${name(inStore('many-empty-directories', 'd7/a/b'))} is missing`,
            `${name(inStore('symlinks', 'relative'))} leads to Target and should lead to target`,
          ].sort(),
        )
      },
      MINUTES,
    )
  })

  it.skipIf(oracle('rdsquashfs').skip)(
    'is unpacked by rdsquashfs as it was',
    async () => {
      const unpacked = join(work, 'rdsquashfs')
      await mkdir(unpacked)
      // It cannot set the owner of a link that leads nowhere; unsquashfs has checked the owners.
      runOk('rdsquashfs', ['--quiet', '--chmod', '--unpack-path', '/', '--unpack-root', unpacked, image])
      expect(compareTrees(traps.store, unpacked, { ignore })).toEqual([])
      await rm(unpacked, { recursive: true })
    },
    5 * MINUTES,
  )

  it.skipIf(oracle('mksquashfs', 'sqfsdiff').skip)(
    "equals mksquashfs' image, by sqfsdiff",
    async () => {
      const theirs = join(work, 'mksquashfs.squashfs')
      const registration = join(work, REGISTRATION)
      await copyFile(join(traps.folder, 'registration'), registration)
      await chmod(registration, 0o444)
      const paths = storePaths(traps.folder).map((path) => join(traps.root, path))
      const options = [
        '-no-hardlinks',
        '-keep-as-directory',
        '-all-root',
        '-root-mode',
        '0755',
        '-b',
        '1M',
        '-comp',
        'zstd',
        '-Xcompression-level',
        '3',
      ]
      runOk('mksquashfs', [registration, ...paths, theirs, ...options, '-quiet', '-no-progress'], { env: { SOURCE_DATE_EPOCH: '0' } })
      const differences = run('sqfsdiff', ['--old', theirs, '--new', image]).text.split('\n')
      // Which of the two forms an inode has is the writer's choice; what it says is not.
      expect(differences.filter((line) => line !== '' && !/ has an? (basic|extended) type$/.test(line))).toEqual([])
      expect((await stat(image)).size).toBeLessThanOrEqual((await stat(theirs)).size * 1.01)
    },
    5 * MINUTES,
  )

  const mount = canMount()
  it.skipIf(mount !== '')(
    `is what the kernel shows${mount === '' ? '' : ` (skipped: ${mount})`}`,
    async () => {
      const folder = join(work, 'mounted')
      await mkdir(folder)
      runOk('mount', ['-t', 'squashfs', '-o', 'loop,ro', image, folder])
      try {
        expect(compareTrees(traps.store, folder, { ignore })).toEqual([])
      } finally {
        runOk('umount', [folder])
      }
    },
    2 * MINUTES,
  )

  describe('reproducibly', () => {
    const build = async (name: string, ...options: string[]): Promise<string> => {
      const file = join(work, name)
      await kilnix('squashfs', ...fast, ...options, '-o', file)
      const hash = await sha256(file)
      await rm(file)
      return hash
    }

    it(
      'has the same bytes with eight workers',
      async () => {
        expect(await build('jobs-8', '--jobs', '8')).toBe(await sha256(image))
      },
      10 * MINUTES,
    )

    it(
      'has the same bytes with one worker, from a store with other times, owners, modes, hard links and directory order',
      async () => {
        const copy = join(work, 'copy')
        await mkdir(join(copy, 'nix'), { recursive: true })
        disturbedCopy(traps.store, join(copy, 'nix/store'))
        expect(await build('from-copy', '--jobs', '1', '--root', copy)).toBe(await sha256(image))
        await rm(copy, { recursive: true })
      },
      5 * MINUTES,
    )
  })
})

describe('the small closure as ISO', () => {
  let work: string
  let iso: string
  let small: Awaited<ReturnType<typeof unpackSmall>>
  const input = (): string[] => ['--closure', small.folder, '--root', small.root, '--compression', 'zstd:3']

  beforeAll(async () => {
    // Memory lists a folder by the order of its making, a disk by hashes of the names.
    work = await mkdtemp(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'kilnix-oracles-'))
    small = await unpackSmall(join(work, 'small'))
    iso = join(work, 'small.iso')
    await kilnix('iso', ...input(), '-o', iso)
  }, MINUTES)
  afterAll(async () => {
    await removeStore(work)
  })

  it.skipIf(oracle('xorriso', 'unsquashfs').skip)(
    'holds the kernel, the initrd and the store, by xorriso',
    async () => {
      const unpacked = join(work, 'iso')
      runOk('xorriso', ['-osirrox', 'on', '-indev', `stdio:${iso}`, '-extract', '/', unpacked])
      const boot = JSON.parse(await readFile(join(small.root, small.toplevel, 'boot.json'), 'utf8'))['org.nixos.bootspec.v1']
      for (const file of [boot.kernel, boot.initrd] as string[]) {
        expect((await readFile(join(unpacked, 'boot', file))).equals(await readFile(join(small.root, file)))).toBe(true)
      }
      runOk('unsquashfs', ['-quiet', '-no-progress', '-dest', join(work, 'store'), join(unpacked, 'nix-store.squashfs')])
      expect(compareTrees(join(small.root, 'nix/store'), join(work, 'store'), { ignore, owners: asRoot })).toEqual([])
    },
    MINUTES,
  )

  it(
    'has the same bytes with other workers, and from a store that a host has disturbed',
    async () => {
      const copy = join(work, 'copy')
      await mkdir(join(copy, 'nix'), { recursive: true })
      disturbedCopy(join(small.root, 'nix/store'), join(copy, 'nix/store'))
      const again = join(work, 'again.iso')
      const hash = await sha256(iso)
      for (const options of [
        ['--jobs', '1'],
        ['--jobs', '8', '--root', copy],
      ]) {
        await kilnix('iso', ...input(), ...options, '-o', again)
        expect(await sha256(again), options.join(' ')).toBe(hash)
        await rm(again)
      }
    },
    3 * MINUTES,
  )
})

/** Why this machine mounts no images; empty if it does. */
function canMount(): string {
  if (process.getuid?.() !== 0) return 'mounting needs root'
  const probe = run('sh', ['-c', 'modprobe -q squashfs loop; grep -qw squashfs /proc/filesystems && losetup --find'])
  return probe.status === 0 ? '' : 'no squashfs in the kernel, or no loop device'
}
