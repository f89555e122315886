/** Replacing paths where something goes wrong: nothing is at the output, and the message says what it was. */
import { appendFileSync, chmodSync, existsSync, mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { addTwin, type Twin } from '../images/twins.ts'
import { runOk } from '../oracles/tools.ts'
import { errorLine, kilnix, leftIn, NO_MOUNT, smallWork, type Work, withDisk } from './support.ts'

const PAGE = 4096

describe('kilnix replace', () => {
  let work: Work
  let twin: Twin
  let input: string[]
  const out = (): string => join(work.folder, 'out')
  beforeAll(async () => {
    work = await smallWork()
    const { folder, root } = work.closure
    twin = await addTwin({ listing: folder, root, into: work.folder }, 'busybox-static-1.35.0')
    input = ['replace', '--closure', twin.listing, '--root', root, '--quiet', '--replace', twin.pair]
  })
  afterAll(() => work.remove())

  it('prints the new system, and with --dry-run what would be done', async () => {
    const { status, stdout, stderr } = await kilnix([...input, '-o', out()])
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    expect(stdout.toString()).toMatch(/^\/nix\/store\/\w{32}-nixos-system-small-26\.05\n$/)
    expect(readdirSync(join(out(), 'nix/store'))).toContain(stdout.toString().trim().slice(11))
    await runOk('rm', ['-rf', out()])
    const plan = await kilnix([...input, '-o', out(), '--dry-run', '--json'])
    const { rewritten, replaced, cutoffs } = JSON.parse(plan.stdout.toString())
    expect(replaced).toEqual({ [twin.oldPath]: twin.newPath })
    expect(rewritten.at(-1)).toBe(work.closure.toplevel)
    expect(cutoffs).toEqual([expect.stringMatching(/-initrd-linux-6\.1\.176$/)])
    expect(existsSync(out())).toBe(false)
  })

  it('names what it cannot replace', async () => {
    const of = async (...pairs: string[]) =>
      (await kilnix([...input.slice(0, -2), ...pairs.flatMap((pair) => ['--replace', pair]), '-o', out()])).stderr
    expect(await of('a=b')).toMatch(/--replace is 'a=b', it must be OLD=NEW/)
    expect(await of(`${twin.oldPath}=${twin.newPath}x`)).toMatch(/equally long/)
    const missing = `/nix/store/${'0'.repeat(32)}-${twin.oldPath.slice(44)}`
    expect(await of(`${twin.oldPath}=${missing}`)).toMatch(errorLine('NOT_FOUND', `${missing}: is to replace`))
    expect(await of()).toMatch(/--replace/)
    expect(existsSync(out())).toBe(false)
  })

  it('finds that a file is not what is registered, before and while it is rewritten', async () => {
    const path = runOk('find', [`${work.closure.root}/nix/store`, '-path', '*nixos-system-small-26.05/init']).text.trim()
    const original = `${path}.original`
    runOk('chmod', ['u+w', join(path, '..'), path])
    runOk('cp', ['-a', path, original])
    runOk('mv', [original, join(work.folder, 'original')])
    appendFileSync(path, ' ')
    expect((await kilnix([...input, '-o', out()])).stderr).toMatch(errorLine('HASH_MISMATCH', 'its NAR is'))
    runOk('sh', ['-c', 'cp -a "$1" "$2" && printf X | dd of="$2" conv=notrunc status=none', 'sh', join(work.folder, 'original'), path])
    expect((await kilnix([...input, '-o', out()])).stderr).toMatch(errorLine('HASH_MISMATCH', 'its files hash to'))
    // What is not checked is taken as it is, and named by its content.
    const unchecked = await kilnix([...input, '--no-verify', '-o', out()])
    expect(unchecked).toMatchObject({ status: 0 })
    runOk('cp', ['-a', join(work.folder, 'original'), path])
    chmodSync(join(path, '..'), 0o555)
    runOk('rm', ['-rf', out()])
    expect(leftIn(work.folder).filter((name) => name.includes('partial') || name === 'out')).toEqual([])
  })

  it('replaces only what it is allowed to', async () => {
    mkdirSync(out())
    writeFileSync(join(out(), 'precious'), '')
    expect((await kilnix([...input, '-o', out()])).stderr).toMatch(errorLine('EXISTS', 'exists already'))
    expect((await kilnix([...input, '-o', join(work.closure.root, 'nix/store', twin.newPath.slice(11), 'x')])).stderr).toMatch(
      /lies within the input/,
    )
    expect((await kilnix([...input, '--force', '-o', work.closure.root])).stderr).toMatch(/the input .* lies within the output/)
    expect(existsSync(join(out(), 'precious'))).toBe(true)
    runOk('rm', ['-rf', out()])
    expect((await kilnix([...input, '-o', '-'])).stderr).toMatch(/name a folder to write/)
  })

  it.skipIf(NO_MOUNT)('leaves nothing on a full disk', async () => {
    const disk = join(work.folder, 'disk')
    mkdirSync(disk)
    const output = join(disk, 'store')
    const build = () => kilnix([...input, '--whole-store', '-o', output])
    const needed = await withDisk(disk, 256 << 20, async () => {
      expect(await build()).toMatchObject({ status: 0 })
      return Number(runOk('du', ['-s', '--block-size=1', disk]).text.split('\t')[0])
    })
    for (const size of [PAGE, 0.3 * needed, 0.9 * needed]) {
      await withDisk(disk, Math.floor(size / PAGE) * PAGE, async () => {
        const { status, stderr } = await build()
        expect(stderr).toMatch(errorLine('WRITE_FAILED', 'ENOSPC'))
        expect(stderr).toContain(output)
        expect({ status, left: leftIn(disk) }).toEqual({ status: 1, left: [] })
      })
    }
    expect(statSync(disk).isDirectory()).toBe(true)
  })
})
