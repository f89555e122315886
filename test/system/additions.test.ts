/** Set-user-id files of the host that are added to an image, in which they would belong to root. */
import { chmodSync, chownSync, linkSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { beforeAll, describe, expect, it } from 'vitest'
import { unpackSmall } from '../../fixtures/unpack.ts'
import { initrd } from '../../src/images/initrd.ts'
import { saveProduct } from '../../src/images/save.ts'
import type { ProgressEvent } from '../../src/io/progress.ts'
import { addedTree } from '../../src/system/additions.ts'
import { installedTree } from '../../src/system/installed.ts'
import { loadStore } from '../../src/system/store.ts'
import { scanHost } from '../../src/tree/scan.ts'
import type { DirectoryNode, TreeNode } from '../../src/tree/tree.ts'
import { scratchFolder } from '../nix/scratch.ts'
import { run } from '../oracles/tools.ts'
import { readInitrd, unpackedInitrd } from '../readers/initrd-reader.ts'

const scratch = scratchFolder()
const KILNIX = [new URL('../../bin/kilnix.js', import.meta.url).pathname]
const isRoot = process.getuid?.() === 0
/** Somebody who is not root. */
const USER = isRoot ? 1234 : (process.getuid?.() ?? 1)
const GROUP = isRoot ? 5678 : (process.getgid?.() ?? 1)

beforeAll(() => {
  mkdirSync(scratch('given'))
  for (const [name, mode, uid, gid] of [
    ['both', 0o6755, USER, GROUP],
    ['plain', 0o755, USER, GROUP],
    ['user', 0o4711, USER, GROUP],
    ...(isRoot
      ? ([
          ['of-root', 0o6755, 0, 0],
          ['only-group', 0o6755, 0, GROUP],
        ] as const)
      : []),
  ] as const) {
    writeFileSync(scratch('given', name), '#!/bin/sh\n')
    if (isRoot) chownSync(scratch('given', name), uid, gid)
    chmodSync(scratch('given', name), mode)
  }
  linkSync(scratch('given/user'), scratch('given/z-user'))
  chmodSync(scratch('given'), 0o2775)
})

/** Modes by name, of what is in `folder`. */
function modes(folder: TreeNode | undefined): Record<string, string> {
  const entries = folder?.kind === 'directory' ? folder.entries : []
  return Object.fromEntries(entries.map(({ name, node }) => [Buffer.from(name).toString(), node.mode.toString(8)]))
}

function notes(): { readonly said: string[]; readonly onProgress: (event: ProgressEvent) => void } {
  const said: string[] = []
  return { said, onProgress: (event) => event.kind === 'note' && said.push(event.message) }
}

function below(tree: DirectoryNode, name: string): TreeNode | undefined {
  return tree.entries.find((entry) => Buffer.from(entry.name).toString() === name)?.node
}

const ROOTS = isRoot ? { 'of-root': '6755', 'only-group': '4755' } : {}
const DROPPED = { both: '755', plain: '755', user: '711', 'z-user': '711', ...ROOTS }

describe('a file that gets another owner', () => {
  const folder = { mode: 0o755, uid: 0, gid: 0, mtimeSeconds: 1 }
  const added = (options: { mode?: number; uid?: number; gid?: number; hardLinks?: boolean }) => {
    const { said, onProgress } = notes()
    const { mode, uid = 0, gid = 0, hardLinks = false } = options
    const attributes = (_kind: unknown, host: { mode: number }) => ({ ...folder, uid, gid, mode: mode ?? host.mode })
    const tree = addedTree({ target: 'x', source: scratch('given'), mode }, folder, { attributes, hardLinks }, onProgress)
    return { tree, modes: modes(below(tree, 'x')), said }
  }

  it('loses the bits that would act for that owner, and a note names it', () => {
    const { tree, modes, said } = added({})
    expect(modes).toEqual(DROPPED)
    const count = Object.keys(DROPPED).length - (isRoot ? 3 : 2)
    const path = scratch('given/both')
    expect(said).toEqual([expect.stringContaining(`${path} and ${count} more below ${scratch('given')}: set-user-id`)])
    // A folder's bit gives nobody rights.
    expect((below(tree, 'x')?.mode ?? 0).toString(8)).toBe('2775')
    expect(added({ hardLinks: true }).modes).toEqual(DROPPED)
  })

  it('keeps them where the owner stays, or the mode was asked for', () => {
    const same = { both: '6755', plain: '755', user: '4711', 'z-user': '4711' }
    expect(added({ uid: USER, gid: GROUP })).toMatchObject({ modes: same, said: isRoot ? [expect.stringContaining('of-root')] : [] })
    const asked = added({ mode: 0o6755 })
    expect(new Set(Object.values(asked.modes))).toEqual(new Set(['6755']))
    expect(asked.said).toEqual([])
  })

  it('is kept as it is by whoever keeps owners', () => {
    expect(modes(scanHost(scratch('given'), { attributes: (_kind, host) => host }))).toMatchObject({ both: '6755', user: '4711' })
  })
})

describe('in an image', () => {
  const one = () => ({ target: 'bin/su', source: scratch('given/user') })

  it('an initrd has none of them', async () => {
    const { said, onProgress } = notes()
    const product = await initrd({ add: [one()], compression: { name: 'none' }, onProgress })
    expect(said).toEqual([
      `${scratch('given/user')}: set-user-id and set-group-id bits are dropped, since the owner in the image is another one`,
    ])
    await saveProduct(product, scratch('initrd'))
    const unpacked = unpackedInitrd(readInitrd(readFileSync(scratch('initrd'))))
    expect(unpacked.get('bin/su')).toMatchObject({ mode: 0o100711, uid: 0 })
  })

  it('an installed system has none of them, unless the mode was given', async () => {
    const small = await unpackSmall(scratch('small'))
    const { closure, tree: store } = await loadStore({ closure: small.folder, root: small.root, verify: false })
    const input = { closure, store, toplevel: small.toplevel, mtimeSeconds: 1 }
    const { said, onProgress } = notes()
    const modeOf = (more: object): number | undefined => {
      const tree = installedTree({ ...input, onProgress, add: [{ ...one(), ...more }] })
      const bin = below(tree, 'bin')
      return bin?.kind === 'directory' ? below(bin, 'su')?.mode : undefined
    }
    expect(modeOf({})).toBe(0o711)
    expect(said).toHaveLength(1)
    expect(modeOf({ uid: USER, gid: GROUP })).toBe(0o4711)
    expect(modeOf({ mode: 0o4755 })).toBe(0o4755)
    expect(said).toHaveLength(1)
  })

  it('the command says so', () => {
    const args = [...KILNIX, 'initrd', '--add', `bin/su=${scratch('given/user')}`, '-o', scratch('by-command')]
    expect(run(process.execPath, args)).toMatchObject({
      status: 0,
      stderr: expect.stringMatching(/given\/user: set-user-id .* are dropped/),
    })
  })
})
