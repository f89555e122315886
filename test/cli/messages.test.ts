/** Messages of the library name its options; this command line spells them as its own. */
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { loadCommands } from '../../src/cli/commands/index.ts'
import { rowList } from '../../src/cli/row.ts'
import { kilnix, smallWork, type Work } from '../faults/support.ts'

const SOURCE = join(import.meta.dirname, '../../src')
const CODE = globSync('**/*.ts', { cwd: SOURCE })
  .filter((file) => !file.startsWith('cli/'))
  .map((file) => [file, readFileSync(join(SOURCE, file), 'utf8').replace(/^\s*(?:\/?\*|\/\/).*$/gm, '')] as const)

const ALL_ROWS = (await loadCommands()).flatMap(({ rows }) => rowList(rows))

describe('the library', () => {
  it('does not speak the command line', () => {
    // That of Nix is another: its commands stand in parentheses.
    const commandsOfNix = /\(nix(?:-store)? [^)]*\)|`--[a-z]+` of Nix/g
    const flags = new Set(ALL_ROWS.map(({ flag }) => flag))
    const spoken = CODE.flatMap(([file, text]) =>
      [...text.replaceAll(commandsOfNix, '').matchAll(/(?:(\S+) )?(?<![\w-])--([a-z]+(?:-[a-z]+)*)\b/g)]
        .filter(([, before, flag = '']) => flags.has(flag) && before !== 'path-info' && before !== '-r')
        .map(([, , flag]) => `${file} --${flag}`),
    )
    // What a client of the server is told.
    expect([...new Set(spoken)]).toEqual(['server/hosts.ts --host'])
  })

  it('names options that some command has', () => {
    const keys = new Set(ALL_ROWS.map(({ key }) => key))
    const named = CODE.flatMap(([, text]) => [...text.matchAll(/\boption\('(\w+)'\)/g)].map(([, name = '']) => name))
    expect(named.length).toBeGreaterThan(20)
    expect(named.filter((name) => !keys.has(name))).toEqual([])
  })
})

describe('the command line', () => {
  let work: Work
  beforeAll(async () => {
    work = await smallWork()
  })
  afterAll(() => work.remove())

  it.each([
    ['disk', ['--size', '4M'], /^kilnix: error \[LIMIT\]: --size is 4194304 bytes, .* so give --size \d+M or more, or auto\n$/],
    ['disk', ['--esp-size', '9M'], /give --esp-size \d+M or more, which leaves room .*\n$/],
    [
      'disk',
      ['--layout', 'none', '--boot-loader', 'uki'],
      /^kilnix: .*; use --layout efi, or --boot-loader extlinux or none\nTry 'kilnix disk --help'\.\n$/,
    ],
    ['zfs', ['--snapshot', 'tank/x@y'], /^kilnix: --snapshot tank\/x@y: there is no such dataset/],
    ['zfs', ['--boot-size', '1000'], /--boot-size/],
    ['iso', ['--label-edition', 'x'.repeat(40)], /an ISO holds 32; give a shorter --volume-id\n$/],
    ['squashfs', ['--compression', 'none', '-o', 'EXISTS'], /exists already; use --force to replace it\n$/],
  ])('kilnix %s %j', async (command, args, message) => {
    const existing = join(work.closure.folder, 'registration')
    const output = args.includes('EXISTS') ? [] : ['-o', join(work.folder, 'never')]
    const written = args.map((word) => (word === 'EXISTS' ? existing : word))
    const { status, stderr } = await kilnix([command, ...work.input, '--quiet', ...output, ...written])
    expect(stderr).toMatch(message)
    expect(status).toBeGreaterThan(0)
  })
})
