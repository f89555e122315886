/** Disks that are full: under the output, under standard output, under the scratch file. */
import { closeSync, mkdirSync, openSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { errorLine, kilnix, leftIn, NO_MOUNT, smallWork, type Work, withDisk } from './support.ts'

const MEBIBYTE = 1 << 20
const PAGE = 4096

describe.skipIf(NO_MOUNT)('a full disk', () => {
  let work: Work
  let disk: string
  beforeAll(async () => {
    work = await smallWork()
    disk = join(work.folder, 'disk')
    mkdirSync(disk)
  })
  afterAll(() => work.remove())

  it.each(['squashfs', 'iso'])('under the output of %s, at sizes from nothing to one page too few', async (command) => {
    const output = join(disk, 'image')
    const build = () => kilnix([command, ...work.input, '--quiet', '-o', output])
    const needed = await withDisk(disk, 256 * MEBIBYTE, async () => {
      expect((await build()).status).toBe(0)
      return statSync(output).blocks * 512
    })
    for (const size of [PAGE, 0.6 * needed, needed - PAGE]) {
      await withDisk(disk, Math.floor(size / PAGE) * PAGE, async () => {
        const { status, stdout, stderr } = await build()
        expect(stderr).toMatch(errorLine('WRITE_FAILED', `${output}: cannot be written (ENOSPC): the file system is full`))
        expect({ status, stdout: stdout.length, left: leftIn(disk) }).toEqual({ status: 1, stdout: 0, left: [] })
      })
    }
    // A page more than the sweep's last, and it fits: the sizes above are what made the others fail.
    await withDisk(disk, needed, async () => expect(await build()).toMatchObject({ status: 0, stderr: '' }))
  })

  it('under an image that is compressed', async () => {
    const output = join(disk, 'image.iso.zst')
    await withDisk(disk, 4 * MEBIBYTE, async () => {
      const { status, stderr } = await kilnix(['iso', ...work.input, '--quiet', '--compress-image', '-o', output])
      expect(stderr).toMatch(errorLine('WRITE_FAILED', `${output}: cannot be written (ENOSPC)`))
      expect(status).toBe(1)
      expect(leftIn(disk)).toEqual([])
    })
  })

  it.each(['squashfs', 'iso'])('under the standard output of %s', async (command) => {
    await withDisk(disk, 8 * MEBIBYTE, async () => {
      const out = openSync(join(disk, 'redirected'), 'w')
      const { status, stderr } = await kilnix([command, ...work.input, '--quiet', '-o', '-'], { stdio: ['ignore', out, 'pipe'] })
      closeSync(out)
      expect(stderr).toMatch(errorLine('WRITE_FAILED', /standard output: .*ENOSPC/))
      expect(status).toBe(1)
    })
  })

  it.each([
    ['-o', '-'],
    ['--compress-image', '-o', 'image.iso.zst'],
  ])('under the scratch file of %s %s', async (...output) => {
    const beside = join(work.folder, 'beside')
    mkdirSync(beside, { recursive: true })
    await withDisk(disk, 8 * MEBIBYTE, async () => {
      const { status, stdout, stderr } = await kilnix(['iso', ...work.input, '--quiet', ...output], { cwd: beside, env: { TMPDIR: disk } })
      expect(stderr).toMatch(errorLine('WRITE_FAILED', `scratch file in ${disk} (TMPDIR chooses the folder): cannot be written (ENOSPC)`))
      expect({ status, stdout: stdout.length, left: [...leftIn(disk), ...leftIn(beside)] }).toEqual({ status: 1, stdout: 0, left: [] })
    })
  })
})
