/** The reader of netboot folders is a judge of its own: it must refuse what iPXE or the kernel would not boot. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { netbootKernel, parseScript } from './netboot-folder.ts'

const script = (...lines: string[]): string => ['#!ipxe', ...lines, ''].join('\n')
const KERNEL = `kernel bzImage init=/init initrd=a initrd=b quiet \${cmdline}`

describe('netboot.ipxe', () => {
  it('is read as iPXE reads it', () => {
    expect(parseScript(script('# a comment', '', KERNEL, 'initrd a', 'initrd b # the second', 'boot'))).toEqual({
      kernel: 'bzImage',
      initrds: ['a', 'b'],
      words: ['init=/init', 'initrd=a', 'initrd=b', 'quiet', ''],
    })
  })

  it('has its blanks joined and its quotes left alone', () => {
    const { words } = parseScript(script(`kernel k  a="b  c" d="e \${} f"`, 'boot'))
    expect(words.join(' ')).toBe('a="b c" d="e  f"')
  })

  it.each([
    ['no first line', `${KERNEL}\ninitrd a\ninitrd b\nboot\n`],
    ['no kernel', script('boot')],
    ['two kernels', script('kernel a', 'kernel b', 'boot')],
    ['no boot', script('kernel k')],
    ['a command after boot', script('kernel k', 'boot', 'initrd a')],
    ['another order of initrds', script(KERNEL, 'initrd b', 'initrd a', 'boot')],
    ['an initrd that is not loaded', script(KERNEL, 'initrd a', 'boot')],
    ['an initrd that no parameter names', script('kernel k', 'initrd a', 'boot')],
    ['a command of another kind', script('kernel k', 'sanboot http://example', 'boot')],
    ['a word that ends the command', script('kernel k a || b', 'boot')],
  ])('with %s is refused', (_, text) => {
    expect(() => parseScript(text)).toThrow(/^netboot\.ipxe: /)
  })
})

describe('a netboot folder', () => {
  let folder: string
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'kilnix-netboot-folder-'))
  })
  afterAll(async () => {
    await rm(folder, { recursive: true, force: true })
  })

  it('has its initrds joined at multiples of four bytes', async () => {
    await writeFile(join(folder, 'netboot.ipxe'), script(KERNEL, 'initrd a', 'initrd b', 'boot'))
    await writeFile(join(folder, 'a'), 'aaaaa')
    await writeFile(join(folder, 'b'), 'bbbb')
    const joined = join(folder, 'joined')
    expect(await netbootKernel(folder, joined)).toEqual({
      kernel: join(folder, 'bzImage'),
      initrd: joined,
      commandLine: 'init=/init initrd=a initrd=b quiet ',
    })
    expect(await readFile(joined, 'latin1')).toBe('aaaaa\0\0\0bbbb')
  })
})
