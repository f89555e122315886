/** Outputs that collide: with an input, with another run, with a folder that takes no files. */
import { cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { checkApart } from '../../src/io/apart.ts'
import { kilnix, leftIn, sha256Of, smallWork, type Work } from './support.ts'

let work: Work
let right: string
beforeAll(async () => {
  work = await smallWork()
  right = join(work.folder, 'right.squashfs')
  expect((await kilnix(['squashfs', ...work.input, '-o', right])).status).toBe(0)
})
afterAll(() => work.remove())

describe('an output that is an input', () => {
  it('is refused, and the input is kept', async () => {
    const store = join(work.closure.root, 'nix/store')
    const [path = ''] = leftIn(store)
    const listing = join(work.folder, 'listing')
    cpSync(join(work.closure.folder, 'registration'), listing)
    const added = join(work.folder, 'added')
    mkdirSync(added)
    writeFileSync(join(added, 'old.iso'), 'an image of yesterday')
    const config = join(work.folder, 'config.json')
    writeFileSync(config, '{}')
    const root = ['--root', work.closure.root]
    const cases: [readonly string[], string, string][] = [
      [['squashfs', ...work.input], join(work.closure.folder, 'registration'), 'is the input'],
      [['squashfs', '--closure', listing, ...root], listing, 'is the input'],
      [['squashfs', ...work.input], join(store, path, 'image.squashfs'), 'lies within the input'],
      [['squashfs', ...work.input, '--config', config], config, 'is the input'],
      [['iso', ...work.input, '--add', `old=${added}`], join(added, 'old.iso'), 'lies within the input'],
    ]
    const before = [leftIn(added), leftIn(store), leftIn(join(store, path))]
    for (const [args, output, message] of cases) {
      const { status, stderr } = await kilnix([...args, '--force', '--quiet', '-o', output])
      expect(stderr).toContain(`kilnix: the output ${output} ${message}`)
      expect(status).toBe(2)
    }
    expect([leftIn(added), leftIn(store), leftIn(join(store, path))]).toEqual(before)
    expect(readFileSync(listing).equals(readFileSync(join(work.closure.folder, 'registration')))).toBe(true)
    expect(readFileSync(join(added, 'old.iso'), 'utf8')).toBe('an image of yesterday')
  })

  it('is seen through links to folders; a link to an input may be replaced, a link as input not', () => {
    const real = join(work.folder, 'real')
    const linked = join(work.folder, 'linked')
    mkdirSync(real)
    writeFileSync(join(real, 'listing'), '')
    symlinkSync(real, linked)
    symlinkSync('listing', join(real, 'link'))
    expect(() => checkApart(join(linked, 'listing'), [join(real, 'listing')])).toThrow(expect.objectContaining({ code: 'USAGE' }))
    expect(() => checkApart(join(real, 'listing'), [join(linked, 'link')])).toThrow(expect.objectContaining({ code: 'USAGE' }))
    expect(() => checkApart(join(linked, 'link'), [join(real, 'link')])).toThrow(expect.objectContaining({ code: 'USAGE' }))
    expect(() => checkApart(join(real, 'link'), [join(real, 'listing')])).not.toThrow()
    expect(() => checkApart(join(real, 'listing-2'), [join(real, 'listing'), join(real, 'not-there')])).not.toThrow()
  })

  it('beside the listing of a closureInfo folder is no input', async () => {
    const output = join(work.closure.folder, 'image.squashfs')
    expect(await kilnix(['squashfs', ...work.input, '--quiet', '-o', output])).toMatchObject({ status: 0, stderr: '' })
    expect(sha256Of(output)).toBe(sha256Of(right))
  })
})

describe('two runs to one output', () => {
  it.each([
    ['with --force both end well', ['--force'], [0, 0]],
    ['without it the slower one may find the file there', [], [0, 1]],
  ])('%s', async (_, force, statuses) => {
    const folder = join(work.folder, `runs ${statuses.join()}`)
    mkdirSync(folder)
    const output = join(folder, 'image')
    const build = () => kilnix(['squashfs', ...work.input, '--quiet', ...force, '-o', output])
    const results = await Promise.all([build(), build()])
    const sorted = results.map(({ status }) => status).sort()
    expect([[0, 0], statuses]).toContainEqual(sorted)
    for (const { status, stderr } of results) expect(stderr).toMatch(status === 0 ? /^$/ : /^kilnix: error \[EXISTS\]: /)
    expect(leftIn(folder)).toEqual(['image'])
    expect(sha256Of(output)).toBe(sha256Of(right))
  })
})
