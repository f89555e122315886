/** Network boots of systems that were made to do harm, and sizes that no loader takes. */
import { chmodSync, existsSync, readFileSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type NetbootOptions, netboot } from '../../src/images/netboot/index.ts'
import type { ProgressEvent } from '../../src/io/progress.ts'
import { type Harm, toPipe } from './harm.ts'
import { errorOf, expectNothingLeft, type Fixture, netbootFixture, STYLES, type Style } from './netboot-support.ts'
import { kilnix } from './support.ts'

let f: Fixture
beforeAll(async () => {
  f = await netbootFixture()
})
afterAll(() => f.work.remove())
expectNothingLeft(() => f)

const GIBIBYTE = 1 << 30
describe('sizes without sense', () => {
  /** A cpio header of an empty archive, and then zeros. */
  function sparseArchive(name: string, size: number): string {
    const file = f.at(name)
    writeFileSync(file, `070701${'0'.repeat(8 * 11)}0000000b00000000TRAILER!!!\0\0\0\0`)
    truncateSync(file, size)
    return file
  }

  it('an archive to prepend of 4 GiB, or two together, before anything is read', async () => {
    const huge = sparseArchive('huge', 4 * GIBIBYTE)
    const half = sparseArchive('half', 2 * GIBIBYTE)
    for (const [prepend, named] of [
      [[huge], huge],
      [[half, half], half],
    ] as const) {
      for (const style of STYLES) {
        expect(await errorOf(f.save({ style, prepend: [...prepend] }))).toMatchObject({ code: 'LIMIT', path: named })
      }
    }
    const { status, stdout, stderr } = await kilnix(['netboot', ...f.work.input, '--prepend', huge, '-o', f.result])
    expect(stderr).toMatch(/^reading the closure\n|^kilnix: error \[LIMIT\]/)
    expect(stderr).toContain(`kilnix: error [LIMIT]: ${huge}: `)
    expect({ status, stdout: stdout.length }).toEqual({ status: 1, stdout: 0 })
  })

  it('an initrd of 2 GiB is told of, and one that other parts make 4 GiB is LIMIT', async () => {
    const prepend = [sparseArchive('half', 2 * GIBIBYTE)]
    const notes: string[] = []
    const onProgress = (event: ProgressEvent): void => void (event.kind === 'note' && notes.push(event.message))
    const recipe = await netboot(f.options({ style: 'manifest', pieces: f.pieces, prepend }))
    await recipe.files({ jobs: 1, onProgress })
    await recipe.close()
    expect(notes).toEqual(['initrd is 2.0 GiB; iPXE and UEFI firmware often load no more than 2 GiB'])
    const almost = await netboot(f.options({ style: 'manifest', pieces: f.pieces, prepend: [sparseArchive('almost', 4 * GIBIBYTE - 4)] }))
    expect(await errorOf(almost.files({ jobs: 1 }))).toMatchObject({
      code: 'LIMIT',
      message: expect.stringMatching(/^initrd: at least \d{10} bytes/),
    })
  })

  it.each(['single', 'manifest', 'per-path'] as const)(
    'what is known to be 4 GiB is LIMIT before a piece is built, in the style %s',
    async (style) => {
      const prepend = [sparseArchive('almost', 4 * GIBIBYTE - 4096)]
      const pieces = f.at(`pieces-of-${style}`)
      const recipe = await netboot(f.options({ style, pieces, prepend, compression: { name: 'none' } }))
      expect(await errorOf(recipe.files({ jobs: 1 }))).toMatchObject({ code: 'LIMIT', message: expect.stringMatching(/^initrd: at least/) })
      expect(existsSync(pieces)).toBe(false)
    },
  )
})

const SPEC = 'org.nixos.bootspec.v1'
const SPECIALISATIONS = 'org.nixos.specialisation.v1'
interface Bootspec {
  [SPEC]: { kernel: string; initrd: string; init: string; label: string; kernelParams: string[]; toplevel: string }
  [SPECIALISATIONS]: Record<string, unknown>
}

describe('a boot.json', () => {
  /** The error of each style for a system whose boot.json was changed; a plain list of paths, so that no hash tells. */
  async function errors(
    change: (boot: Bootspec) => unknown,
    more: Partial<NetbootOptions> = {},
    styles: readonly Style[] = STYLES,
  ): Promise<unknown[]> {
    const { toplevel, folder, root } = f.work.closure
    const edit: Harm = (path) => {
      const boot = JSON.parse(readFileSync(path, 'utf8')) as Bootspec
      const changed = change(boot)
      chmodSync(path, 0o644)
      writeFileSync(path, typeof changed === 'string' ? changed : JSON.stringify(changed))
    }
    return f.store.whileHarmed(join(toplevel.slice('/nix/store/'.length), 'boot.json'), edit, () =>
      Promise.all(styles.map((style) => errorOf(netboot({ closure: join(folder, 'qR.txt'), root, toplevel, style, ...more })))),
    )
  }
  const withSpec = (more: Partial<Bootspec[typeof SPEC]>) => (boot: Bootspec) => ({ ...boot, [SPEC]: { ...boot[SPEC], ...more } })
  const elsewhere = `/nix/store/${'0'.repeat(32)}-x`

  it.each<[string, (boot: Bootspec) => unknown, string]>([
    ['whose kernel is a file of the host', withSpec({ kernel: '/etc/passwd' }), 'BAD_INPUT'],
    ['whose kernel leads up', withSpec({ kernel: `${elsewhere}/../../../etc/passwd` }), 'BAD_INPUT'],
    ['whose kernel ends with a slash', (boot) => withSpec({ kernel: `${boot[SPEC].kernel}/` })(boot), 'BAD_INPUT'],
    ['whose kernel is in no listed path', withSpec({ kernel: `${elsewhere}/bzImage` }), 'NOT_FOUND'],
    ['whose kernel is a store path', (boot) => withSpec({ kernel: boot[SPEC].toplevel })(boot), 'BAD_INPUT'],
    ['with a setting of iPXE in a parameter', withSpec({ kernelParams: ['a=$' + '{ip}'] }), 'BAD_INPUT'],
    ['with a line feed in a parameter', withSpec({ kernelParams: ['a\nchain http://evil'] }), 'BAD_INPUT'],
    ['with an escape sequence in a parameter', withSpec({ kernelParams: ['a\x1b[2J'] }), 'BAD_INPUT'],
    ['with letters that iPXE does not hand over', withSpec({ kernelParams: ['a=ä'] }), 'BAD_INPUT'],
    ['with 10,000 parameters', withSpec({ kernelParams: Array(10_000).fill('quiet') }), 'LIMIT'],
    ['with a specialisation that leads up', (boot) => ({ ...boot, [SPECIALISATIONS]: { '../x': boot } }), 'BAD_INPUT'],
    ['with a specialisation in a folder', (boot) => ({ ...boot, [SPECIALISATIONS]: { 'a/b': boot } }), 'BAD_INPUT'],
    ['that nests', () => '['.repeat(100_000), 'LIMIT'],
    ['that is empty', () => '', 'BAD_INPUT'],
  ])('%s', async (_what, change, code) => {
    for (const error of await errors(change)) expect(error).toMatchObject({ code })
  })

  it('with names that JavaScript has for itself', async () => {
    const named = (name: string) => (boot: Bootspec) => JSON.stringify(boot).replace('"verbose":', `${JSON.stringify(name)}:`)
    for (const name of ['__proto__', 'constructor', 'toString']) {
      for (const error of await errors((boot) => boot, { specialisation: name })) {
        expect(error).toMatchObject({ code: 'NOT_FOUND', message: expect.stringContaining('there are: verbose') })
      }
    }
    for (const error of await errors(named('__proto__'), { specialisation: 'verbose' })) {
      expect(error).toMatchObject({ code: expect.stringMatching(/^(?:NOT_FOUND|BAD_INPUT)$/) })
    }
    expect(Object.prototype).not.toHaveProperty(SPEC)
  })

  it.each(['initrd', 'manifest', 'nix-store', 'netboot.ipxe', 'kexec', 'kexec.tar.gz', 'a b', 'x$' + '{y}', '#boot'])(
    'whose kernel has the name %j, which is taken or which iPXE cannot fetch',
    async (name) => {
      const path = join(dirname(f.kernel), name)
      f.store.harm(path, (file) => symlinkSync('bzImage', file))
      const found = await errors((boot) => withSpec({ kernel: `/nix/store/${path}` })(boot)).finally(() => f.store.heal(path))
      for (const error of found) expect(error).toMatchObject({ code: expect.stringMatching(/^(?:BAD_INPUT|USAGE)$/) })
    },
  )

  const linkTo =
    (target: string): Harm =>
    (path) => {
      rmSync(path)
      symlinkSync(target, path)
    }

  const circle: Harm = (path) => {
    linkTo('round')(path)
    symlinkSync(basename(path), join(dirname(path), 'round'))
  }

  it.each<[string, Harm, string]>([
    ['a link out of the store', linkTo('/etc/passwd'), 'NOT_FOUND'],
    ['a link up and out of the store', linkTo('../../../../../../etc/passwd'), 'NOT_FOUND'],
    ['a link to a path that is not listed', linkTo(elsewhere), 'NOT_FOUND'],
    ['a link to a link to it', circle, 'BAD_INPUT'],
    ['a pipe', toPipe, 'UNSUPPORTED'],
  ])('whose kernel or initrd is %s', async (_what, harm, code) => {
    for (const error of await f.store.whileHarmed(f.kernel, harm, () => errors((boot) => boot))) expect(error).toMatchObject({ code })
    // The style per-path has no use for the system's own initrd.
    const styles = STYLES.filter((style) => style !== 'per-path')
    const found = await f.store.whileHarmed(f.ownInitrd, harm, () => errors((boot) => boot, {}, styles))
    for (const error of found) expect(error).toMatchObject({ code })
  })
})
