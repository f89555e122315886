import { chmodSync, linkSync, mkdirSync, renameSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs'
import { isDeepStrictEqual } from 'node:util'
import { describe, expect, it } from 'vitest'
import { HOST_ATTRIBUTES, type ScanPolicy, scanHost } from '../../src/tree/scan.ts'
import type { DirectoryNode, TreeNode } from '../../src/tree/tree.ts'
import { makeNastyTree } from '../nix/nasty-tree.ts'
import { failure, scratchFolder } from '../nix/scratch.ts'
import { runOk } from '../oracles/tools.ts'
import { treeTotals } from './totals.ts'

const FIXED: ScanPolicy = { attributes: () => ({ mode: 0o600, uid: 3, gid: 4, mtimeSeconds: 5 }) }

function names(node: TreeNode): string[] {
  return (node as DirectoryNode).entries.map((entry) => Buffer.from(entry.name).toString('latin1'))
}

function child(node: TreeNode, name: string): TreeNode {
  const entry = (node as DirectoryNode).entries.find((one) => Buffer.from(one.name).toString('latin1') === name)
  if (entry === undefined) throw new Error(`no ${name}`)
  return entry.node
}

/** A tree with contents as host paths in text, so that it can be compared. */
function plain(node: TreeNode, cut: number): unknown {
  if (node.kind === 'directory')
    return { ...node, entries: node.entries.map((entry) => [Buffer.from(entry.name).toString('hex'), plain(entry.node, cut)]) }
  if (node.kind === 'file' && node.content.kind === 'hostFile')
    return {
      ...node,
      content: Buffer.from(node.content.path)
        .toString('hex')
        .slice(cut * 2),
    }
  return node.kind === 'symlink' ? { ...node, target: Buffer.from(node.target).toString('hex') } : node
}

describe('scanHost', () => {
  const scratch = scratchFolder()

  it('finds every name find finds, as bytes and in order', () => {
    makeNastyTree(scratch('nasty'))
    const found: string[] = []
    const walk = (node: TreeNode, path: string): void => {
      found.push(path)
      if (node.kind === 'file' && node.content.kind === 'hostFile') expect(Buffer.from(node.content.path).toString('latin1')).toBe(path)
      if (node.kind !== 'directory') return
      expect(names(node)).toEqual(names(node).sort())
      for (const entry of node.entries) walk(entry.node, `${path}/${Buffer.from(entry.name).toString('latin1')}`)
    }
    const tree = scanHost(scratch('nasty'), HOST_ATTRIBUTES)
    walk(tree, scratch('nasty'))
    const listed = runOk('find', [scratch('nasty'), '-print0'])
      .stdout.toString('latin1')
      .split('\0')
      .slice(0, -1)
    expect(found.sort()).toEqual(listed.sort())
    const totals = treeTotals(tree)
    expect(totals.files + totals.directories + totals.symlinks).toBe(listed.length)
    expect(totals.bytes).toBe(
      Number(runOk('sh', ['-c', `find "$1" -type f -printf '%s\\n' | awk '{s+=$1} END {print s}'`, 'sh', scratch('nasty')]).text),
    )
  })

  it('takes attributes from the host or from the policy', () => {
    writeFileSync(scratch('file'), 'text')
    chmodSync(scratch('file'), 0o4751)
    utimesSync(scratch('file'), 1234, 987654321.9)
    expect(scanHost(scratch('file'), HOST_ATTRIBUTES)).toMatchObject({ kind: 'file', mode: 0o4751, mtimeSeconds: 987654321, size: 4 })
    expect(scanHost(scratch('file'), FIXED)).toMatchObject({ kind: 'file', mode: 0o600, uid: 3, gid: 4, mtimeSeconds: 5, size: 4 })
  })

  it('does not follow links, not even the first', () => {
    symlinkSync('nowhere', scratch('link'))
    const node = scanHost(Buffer.from(scratch('link')), FIXED)
    expect(node.kind === 'symlink' && Buffer.from(node.target).toString()).toBe('nowhere')
  })

  it('makes hard links nodes of their own', () => {
    mkdirSync(scratch('hard'))
    writeFileSync(scratch('hard/a'), '')
    linkSync(scratch('hard/a'), scratch('hard/b'))
    const tree = scanHost(scratch('hard'), HOST_ATTRIBUTES)
    expect(child(tree, 'a')).not.toBe(child(tree, 'b'))
  })

  it('gives the same whatever order the entries were made in', () => {
    const list = Array.from({ length: 500 }, (_, index) => `${(index * 7919) % 500}`)
    for (const [folder, order] of [
      ['one', list],
      ['two', [...list].reverse()],
    ] as const) {
      mkdirSync(scratch(folder))
      for (const name of order) writeFileSync(scratch(folder, name), name)
    }
    expect(
      isDeepStrictEqual(
        plain(scanHost(scratch('one'), FIXED), scratch('one').length),
        plain(scanHost(scratch('two'), FIXED), scratch('two').length),
      ),
    ).toBe(true)
  })

  it('undoes the case hack only where asked', async () => {
    mkdirSync(scratch('case'))
    for (const name of [
      'README',
      'ReadMe~nix~case~hack~1',
      'readme~nix~case~hack~2',
      'Z',
      'z~nix~case~hack~1',
      'A~nix~case~hack~x~nix~case~hack~2',
    ])
      writeFileSync(scratch('case', name), name)
    expect(names(scanHost(scratch('case'), FIXED))).toContain('ReadMe~nix~case~hack~1')
    const tree = scanHost(scratch('case'), { ...FIXED, caseHack: true })
    expect(names(tree)).toEqual(['A', 'README', 'ReadMe', 'Z', 'readme', 'z'])
    const node = child(tree, 'ReadMe')
    expect(node.kind === 'file' && node.content.kind === 'hostFile' && Buffer.from(node.content.path).toString()).toBe(
      scratch('case/ReadMe~nix~case~hack~1'),
    )
    writeFileSync(scratch('case/ReadMe'), '')
    await failure(() => scanHost(scratch('case'), { ...FIXED, caseHack: true }), 'BAD_INPUT', /two entries are named ReadMe/)
  })

  it('names what it cannot take', async () => {
    await failure(() => scanHost(scratch('nothing'), FIXED), 'NOT_FOUND', /nothing: is not there/)
    mkdirSync(scratch('odd'))
    runOk('mkfifo', [scratch('odd/pipe')])
    await failure(() => scanHost(scratch('odd'), FIXED), 'UNSUPPORTED', /odd\/pipe: is a pipe/)
    await failure(() => scanHost('/dev/null', FIXED), 'UNSUPPORTED', /\/dev\/null: is a device/)
    mkdirSync(scratch('vanish/inner'), { recursive: true })
    const vanishing: ScanPolicy = {
      attributes: (kind, host) => {
        if (kind === 'directory') renameSync(scratch('vanish/inner'), scratch('elsewhere'))
        return host
      },
    }
    mkdirSync(scratch('vanish/inner/a'))
    await failure(() => scanHost(scratch('vanish/inner'), vanishing), 'CHANGED', /inner: vanished while/)
  })

  it('says so when a path is longer than the system takes', async () => {
    // Made from the inside out: no call names more than one level.
    mkdirSync(scratch('long'))
    for (let level = 0; level < 17; level++) {
      mkdirSync(scratch('outer'))
      renameSync(scratch('long'), scratch('outer', 'n'.repeat(250)))
      renameSync(scratch('outer'), scratch('long'))
    }
    await failure(() => scanHost(scratch('long'), FIXED), 'UNREADABLE', /ENAMETOOLONG/)
  })
})

describe.skipIf(process.getuid?.() !== 0)('scanHost as another user', () => {
  const scratch = scratchFolder()

  it('names a folder that cannot be read', async () => {
    mkdirSync(scratch('closed/inner'), { recursive: true })
    chmodSync(scratch(), 0o755)
    chmodSync(scratch('closed/inner'), 0)
    process.seteuid?.(65534)
    try {
      await failure(() => scanHost(scratch('closed'), FIXED), 'UNREADABLE', /closed\/inner: cannot be read \(EACCES\)/)
    } finally {
      process.seteuid?.(0)
    }
  })
})
