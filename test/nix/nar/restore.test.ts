/** Unpacking: what lies there afterwards, and that nothing does after an error. */
import { lstatSync, mkdirSync, readdirSync, readFileSync, readlinkSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { afterEach, describe, expect, it } from 'vitest'
import { narChunks } from '../../../src/nix/nar/dump.ts'
import { type RestoreOptions, restoreNar } from '../../../src/nix/nar/restore.ts'
import { storePolicy } from '../../../src/nix/store/store-policy.ts'
import { scanHost } from '../../../src/tree/scan.ts'
import { removeTree } from '../../remove-tree.ts'
import { makeNastyTree } from '../nasty-tree.ts'
import { failure, scratchFolder } from '../scratch.ts'
import { chunksOf, entry, fileNode, folderNode, linkNode, nar, word, words } from './words.ts'

const scratch = scratchFolder()
const target = (): string => scratch('out', 'target')
const left = (): string[] => readdirSync(scratch('out')).sort()

function restore(bytes: Uint8Array, options: RestoreOptions = {}): Promise<void> {
  mkdirSync(scratch('out'), { recursive: true })
  return restoreNar(chunksOf(bytes, 1000), target(), options)
}

async function dumped(path: string, caseHack = false): Promise<Buffer> {
  const parts: Uint8Array[] = []
  for await (const chunk of narChunks(scanHost(path, storePolicy(1, caseHack)), path)) parts.push(Uint8Array.from(chunk))
  return Buffer.concat(parts)
}

afterEach(() => removeTree(scratch('out')))

const FOLDER = nar(
  folderNode(
    entry('file', fileNode('text')),
    entry('link', linkNode('/etc/passwd')),
    entry('run', fileNode('#!', true)),
    entry('sub', folderNode()),
  ),
)

describe('what is there', () => {
  it('has the modes and times of a store', async () => {
    await restore(FOLDER)
    const facts = ['', '/file', '/link', '/run', '/sub'].map((name) => {
      const { mode, mtimeMs } = lstatSync(target() + name)
      return [name, mode.toString(8), mtimeMs]
    })
    expect(facts).toEqual([
      ['', '40555', 1000],
      ['/file', '100444', 1000],
      ['/link', '120777', 1000],
      ['/run', '100555', 1000],
      ['/sub', '40555', 1000],
    ])
    expect(readFileSync(`${target()}/file`, 'utf8')).toBe('text')
    expect(readlinkSync(`${target()}/link`)).toBe('/etc/passwd')
    expect(left()).toEqual(['target'])
    expect(await dumped(target())).toEqual(FOLDER)
  })

  it.each([
    ['a file', fileNode('x'.repeat(5000))],
    ['a program', fileNode('', true)],
    ['a link', linkNode('nowhere')],
    ['an empty folder', folderNode()],
  ])('%s as the root', async (_what, node) => {
    await restore(nar(node))
    expect(await dumped(target())).toEqual(nar(node))
  })

  it('a tree of everything that trips writers up comes back the same', async () => {
    makeNastyTree(scratch('nasty'))
    const bytes = await dumped(scratch('nasty'))
    await restore(bytes)
    expect((await dumped(target())).equals(bytes)).toBe(true)
  })

  it('progress tells the bytes of contents', async () => {
    const seen: unknown[] = []
    await restore(nar(fileNode('x'.repeat(5000))), { onProgress: (event) => seen.push(event) })
    expect(seen[0]).toEqual({ kind: 'stage', stage: 'write' })
    expect(seen.at(-1)).toEqual({ kind: 'bytes', stage: 'write', doneBytes: 5000 })
  })
})

describe('the case hack', () => {
  const names = ['DIR', 'Dir', 'README', 'ReadMe', 'dir', 'readme', 'É', 'é']
  const bytes = nar(folderNode(...names.map((name) => entry(name, fileNode(name)))))

  it('gives names that differ in case an ending, as Nix does, and is undone by a dump', async () => {
    await restore(bytes, { caseHack: true })
    expect(readdirSync(target(), 'latin1').sort()).toEqual(
      [
        'DIR',
        'Dir~nix~case~hack~1',
        'README',
        'ReadMe~nix~case~hack~1',
        'dir~nix~case~hack~2',
        'readme~nix~case~hack~2',
        '\xc9',
        '\xe9',
      ].sort(),
    )
    expect(await dumped(target(), true)).toEqual(bytes)
    expect(await dumped(target())).not.toEqual(bytes)
  })

  it('counts each folder for itself', async () => {
    const two = nar(
      folderNode(
        entry('A', folderNode(entry('x', fileNode('')))),
        entry('a', folderNode(entry('X', fileNode('')), entry('x', fileNode('')))),
      ),
    )
    await restore(two, { caseHack: true })
    expect(readdirSync(target())).toEqual(['A', 'a~nix~case~hack~1'])
    expect(readdirSync(`${target()}/a~nix~case~hack~1`)).toEqual(['X', 'x~nix~case~hack~1'])
    expect(await dumped(target(), true)).toEqual(two)
  })

  it('is not asked for: names stay', async () => {
    const hacked = nar(folderNode(entry('a~nix~case~hack~1', fileNode(''))))
    await restore(hacked)
    expect(readdirSync(target())).toEqual(['a~nix~case~hack~1'])
  })

  it('a name that it would cut is refused', async () => {
    const hacked = nar(folderNode(entry('a~nix~case~hack~1', fileNode(''))))
    await failure(() => restore(hacked, { caseHack: true }), 'BAD_INPUT', /'a~nix~case~hack~1', which the case hack would cut/)
    expect(left()).toEqual([])
  })
})

describe('after an error nothing is there', () => {
  const deep = folderNode(entry('a', folderNode(entry('b', fileNode('x')), entry('c', linkNode('x')))))
  it.each<[string, Buffer]>([
    ['a cut NAR', nar(deep).subarray(0, -40)],
    ['a content that ends early', nar(Buffer.concat([words('( type regular contents'), word('x'.repeat(5000), 9000n)]))],
    [
      'a name that leads out',
      nar(folderNode(entry('a', folderNode(entry('x', fileNode('')))), entry('b', folderNode(entry('..', linkNode('x')))))),
    ],
    ['an absolute name', nar(folderNode(entry('/tmp/kilnix-escaped', fileNode(''))))],
    ['a name with a slash', nar(folderNode(entry('a', linkNode('/tmp')), entry('a/kilnix-escaped', fileNode(''))))],
    [
      'a folder where a link is',
      nar(folderNode(entry('a', linkNode('/tmp')), entry('a', folderNode(entry('kilnix-escaped', fileNode('')))))),
    ],
    ['bytes behind the end', Buffer.concat([nar(deep), Buffer.alloc(8)])],
  ])('%s', async (_what, bytes) => {
    await failure(() => restore(bytes), 'BAD_INPUT', /^NAR: no valid NAR/)
    expect(left()).toEqual([])
    expect(readdirSync('/tmp')).not.toContain('kilnix-escaped')
  })

  it('an input that fails', async () => {
    async function* input(): AsyncGenerator<Uint8Array> {
      yield nar(deep).subarray(0, 300)
      throw new Error('the line is dead')
    }
    mkdirSync(scratch('out'), { recursive: true })
    await expect(restoreNar(input(), target())).rejects.toThrow('the line is dead')
    expect(left()).toEqual([])
  })

  it('a signal', async () => {
    const controller = new AbortController()
    const cancel = () => controller.abort()
    await failure(
      () => restore(nar(fileNode('x'.repeat(50_000))), { signal: controller.signal, onProgress: cancel }),
      'ABORTED',
      /cancelled/,
    )
    expect(left()).toEqual([])
  })

  it('a folder that is not there', async () => {
    await failure(() => restoreNar(chunksOf(FOLDER), scratch('no', 'where')), 'WRITE_FAILED', /ENOENT.*its folder does not exist/)
  })
})

describe('what is there already', () => {
  it.each<[string, () => void]>([
    ['a file', () => writeFileSync(target(), 'mine')],
    ['an empty folder', () => mkdirSync(target())],
    ['a link to nowhere', () => symlinkSync('nowhere', target())],
    ['a link to a folder', () => symlinkSync('/tmp', target())],
  ])('%s is kept, and replaced if asked', async (_what, make) => {
    mkdirSync(scratch('out'))
    make()
    const before = lstatSync(target())
    await failure(() => restore(FOLDER), 'EXISTS', /exists already; use force/)
    expect(lstatSync(target())).toMatchObject({ ino: before.ino, mtimeMs: before.mtimeMs })
    await restore(FOLDER, { force: true })
    expect(await dumped(target())).toEqual(FOLDER)
    expect(left()).toEqual(['target'])
  })

  it('a restored folder is replaced by another, and kept when that one fails', async () => {
    await restore(FOLDER)
    await failure(() => restore(FOLDER.subarray(0, -8), { force: true }), 'BAD_INPUT', /cut short/)
    expect(await dumped(target())).toEqual(FOLDER)
    await restore(nar(fileNode('y')), { force: true })
    expect(readFileSync(target(), 'utf8')).toBe('y')
    expect(left()).toEqual(['target'])
    rmSync(target())
  })
})
