/** Restoring a NAR to a disk that is full, and being cancelled meanwhile. */
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { entry, fileNode, folderNode, linkNode, nar } from '../nix/nar/words.ts'
import { removeTree } from '../remove-tree.ts'
import { errorLine, finish, kilnix, leftIn, NO_MOUNT, NOT_UNPRIVILEGED, start, UNPRIVILEGED, withDisk } from './support.ts'

const PAGE = 4096

/** Three hundred files, links and folders, of some 2 MB. */
const SAMPLE = nar(
  folderNode(
    ...Array.from({ length: 100 }, (_, index) =>
      entry(String(index).padStart(3, '0'), folderNode(entry('file', fileNode('x'.repeat(20_000))), entry('link', linkNode('file')))),
    ),
  ),
)

let work = ''
beforeAll(async () => {
  work = await mkdtemp(join(tmpdir(), 'kilnix-nar-faults-'))
  mkdirSync(join(work, 'disk'))
  writeFileSync(join(work, 'sample.nar'), SAMPLE)
})
afterAll(() => removeTree(work))

describe.skipIf(NO_MOUNT)('a full disk', { timeout: 60_000 }, () => {
  it('under a restored folder, at several sizes: nothing is left', async () => {
    const disk = join(work, 'disk')
    const restore = () => kilnix(['nar', 'restore', join(work, 'sample.nar'), join(disk, 'out')])
    for (const size of [PAGE, 50 * PAGE, 400 * PAGE, 490 * PAGE]) {
      await withDisk(disk, size, async () => {
        const { status, stdout, stderr } = await restore()
        expect(stderr, String(size)).toMatch(errorLine('WRITE_FAILED', 'cannot be written (ENOSPC): the file system is full'))
        expect({ status, stdout: stdout.length, left: leftIn(disk) }).toEqual({ status: 1, stdout: 0, left: [] })
      })
    }
    await withDisk(disk, 1000 * PAGE, async () => {
      expect(await restore()).toMatchObject({ status: 0, stderr: '' })
      expect(leftIn(disk)).toEqual(['out'])
      expect(readFileSync(join(disk, 'out/099/link'), 'utf8')).toHaveLength(20_000)
    })
  })
})

describe('a signal', { timeout: 60_000 }, () => {
  it.each(['SIGINT', 'SIGTERM'] as const)('%s in the middle of a NAR: nothing is left', async (signal) => {
    const folder = join(work, signal)
    mkdirSync(folder)
    const child = start(['nar', 'restore', '-', join(folder, 'out')], { stdio: ['pipe', 'pipe', 'pipe'] })
    child.stdin?.on('error', () => undefined)
    child.stdin?.write(SAMPLE.subarray(0, 1_500_000))
    while (leftIn(folder).length === 0) await new Promise((resolve) => setTimeout(resolve, 10))
    child.kill(signal)
    const { status, stderr } = await finish(child)
    expect(stderr).toBe(`kilnix: cancelled by ${signal}\n`)
    expect(status).toBe(signal === 'SIGINT' ? 130 : 143)
    expect(leftIn(folder)).toEqual([])
  })
})

describe.skipIf(NOT_UNPRIVILEGED)('without privileges', { timeout: 60_000 }, () => {
  it('folders that are finished and closed to writing are removed after an error all the same', async () => {
    const folder = join(work, 'open')
    mkdirSync(folder, { mode: 0o777 })
    chmodSync(work, 0o755)
    chmodSync(folder, 0o777)
    const child = start(['nar', 'restore', '-', join(folder, 'out')], { stdio: ['pipe', 'pipe', 'pipe'], ...UNPRIVILEGED })
    child.stdin?.end(SAMPLE.subarray(0, 1_500_000))
    const { status, stderr } = await finish(child)
    expect(stderr).toMatch(errorLine('BAD_INPUT', 'cut short'))
    expect(status).toBe(1)
    expect(leftIn(folder)).toEqual([])
  })
})
