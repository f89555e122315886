/** Trees of NARs in files: what the grammar takes, and nothing else. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { bytesSource } from '../../../src/io/source.ts'
import { readNarFast } from '../../../src/nix/nar/fast.ts'
import { narTree } from '../../../src/nix/nar/tree.ts'
import { narFileTree } from '../../../src/nix/store/nar-file.ts'
import type { TreeNode } from '../../../src/tree/tree.ts'
import { entry, fileNode, folderNode, linkNode, nar } from '../nar/words.ts'

const folder = mkdtempSync(join(tmpdir(), 'kilnix-nar-file-'))
afterAll(() => rmSync(folder, { recursive: true }))

const INNER = folderNode(entry('10', fileNode('ten')), entry('9', linkNode('10')), entry('run', fileNode('#!', true)))
const SAMPLE = nar(
  folderNode(entry('big', fileNode('x'.repeat(300_001))), entry('empty', fileNode('')), entry('in', INNER), entry('\xff', folderNode())),
)
const SMALL = nar(folderNode(entry('a', fileNode('12345')), entry('in', INNER), entry('z', folderNode())))

/** All but where contents are. */
function shape(node: TreeNode): unknown {
  if (node.kind === 'directory')
    return { ...node, entries: node.entries.map((one) => [Buffer.from(one.name).toString('hex'), shape(one.node)]) }
  if (node.kind === 'file') return { ...node, content: undefined }
  return node.kind === 'symlink' ? { ...node, target: Buffer.from(node.target).toString('hex') } : node
}

/** The tree or the message, of both. */
async function both(bytes: Uint8Array): Promise<readonly [unknown, unknown]> {
  const file = join(folder, 'x.nar')
  writeFileSync(file, Buffer.concat([Buffer.from('before'), bytes]))
  const grammar = await narTree(bytesSource(bytes), { name: file }).then(shape, (error: Error) => error.message)
  try {
    return [shape(narFileTree({ file, start: 6, size: bytes.length })), grammar]
  } catch (error) {
    return [(error as Error).message, grammar]
  }
}

function isFast(bytes: Buffer): boolean {
  const window = {
    memory: Buffer.from(Uint8Array.from(bytes).buffer),
    position: 0,
    have: (count: number): number => (window.position + count > bytes.length ? -1 : window.position),
    leap(count: number): boolean {
      if (window.position + count > bytes.length) return false
      window.position += count
      return true
    },
  }
  return readNarFast(window, () => undefined)
}

describe('narFileTree', () => {
  it.each([SAMPLE, SMALL, nar(fileNode('x')), nar(fileNode('', true)), nar(linkNode('to')), nar(folderNode())])(
    'reads a NAR %#',
    async (bytes) => {
      expect(isFast(bytes)).toBe(true)
      const [found, expected] = await both(bytes)
      expect(found).toEqual(expected)
      expect(found).toBeTypeOf('object')
    },
  )

  it('takes and refuses what the grammar does, wherever a byte is another', async () => {
    for (let at = 0; at < SMALL.length; at++) {
      const bytes = Buffer.from(SMALL)
      bytes[at] = (bytes[at] ?? 0) ^ (at % 3 === 0 ? 1 : 0x2f)
      const [found, expected] = await both(bytes)
      expect(found).toEqual(expected)
      expect(isFast(bytes)).toBe(await isTaken(bytes))
    }
  })

  it('refuses what is cut, or goes on', async () => {
    for (let size = 0; size < SMALL.length; size += 4) {
      const [found, expected] = await both(SMALL.subarray(0, size))
      expect(found).toEqual(expected)
      expect(found).toMatch(/no valid NAR/)
    }
    const [found] = await both(Buffer.concat([SMALL, Buffer.alloc(8)]))
    expect(found).toMatch(/bytes follow behind its end/)
  })
})

async function isTaken(bytes: Uint8Array): Promise<boolean> {
  try {
    await narTree(bytesSource(bytes))
    return true
  } catch {
    return false
  }
}
