/** Names that are one to a file system that ignores case, which is made of this one by folding what is opened. */
import { existsSync, mkdirSync } from 'node:fs'
import { expect, it, vi } from 'vitest'
import { writeTree } from '../../src/tree/host-write.ts'
import { failure, scratchFolder } from '../nix/scratch.ts'
import { file, folder } from '../nix/store-samples.ts'

const at = scratchFolder()

vi.mock('node:fs', async (original) => {
  const fs = await original<typeof import('node:fs')>()
  const lower = (path: unknown): unknown =>
    Buffer.isBuffer(path) ? Buffer.from(path.toString().replace(/include\/.*$/, (names) => names.toLowerCase())) : path
  return {
    ...fs,
    openSync: (path: never, ...rest: never[]) => fs.openSync(lower(path) as never, ...(rest as [never])),
    mkdirSync: (path: never, ...rest: never[]) => fs.mkdirSync(lower(path) as never, ...(rest as [never])),
    chmodSync: (path: never, ...rest: never[]) => fs.chmodSync(lower(path) as never, ...(rest as [never])),
    utimesSync: (path: never, ...rest: never[]) => fs.utimesSync(lower(path) as never, ...(rest as [never, never])),
  }
})

it.each([
  ['files', folder({ include: folder({ 'xt_DSCP.h': file('a'), 'xt_dscp.h': file('b') }) })],
  ['folders', folder({ include: folder({ 'xt_DSCP.h': folder({}), 'xt_dscp.h': folder({}) }) })],
])('says which names of %s are one', async (what, tree) => {
  mkdirSync(at(what))
  const message = /include: 'xt_DSCP\.h' and 'xt_dscp\.h' are one name to this file system, which ignores case/
  const { path } = await failure(() => writeTree(tree, at(what, 'out'), { label: 'OUT' }), 'WRITE_FAILED', message)
  expect(path).toBe('OUT/include')
})

it('says what it said before of what was there', async () => {
  mkdirSync(at('there'))
  await failure(() => writeTree(folder({ a: file('a') }), at('there')), 'WRITE_FAILED', /cannot be written \(EEXIST\)/)
  expect(existsSync(at('there', 'a'))).toBe(false)
})
