/**
 * A process of its own for the test of memory: packs a pool and prints how long planning took, and the most KiB that were
 * resident. `many`: 200,000 files of the host below the folder that is named, or `sparse`: 100 GiB with a file of holes.
 */
import { readFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { zfsPool } from '../../../src/filesystems/zfs/index.ts'
import { FileTarget } from '../../../src/io/file-target.ts'
import { scanHost } from '../../../src/tree/scan.ts'
import type { DirectoryNode, Entry, FileNode } from '../../../src/tree/tree.ts'
import { noise } from './support.ts'

const [mode, folder = '', output = ''] = process.argv.slice(2)
const ATTRIBUTES = { uid: 0, gid: 0, mtimeSeconds: 1 }
const GIBIBYTE = 2 ** 30

/** A folder of the host many times over: each node is another, as if all were there. */
function repeated(tree: DirectoryNode, times: number): DirectoryNode {
  const copy = (node: DirectoryNode): DirectoryNode => ({
    ...node,
    entries: node.entries.map((entry): Entry => {
      return { name: entry.name, node: entry.node.kind === 'directory' ? copy(entry.node) : { ...entry.node } }
    }),
  })
  return { ...tree, entries: Array.from({ length: times }, (_, index) => ({ name: Buffer.from(`path-${index}`), node: copy(tree) })) }
}

function withHoles(): DirectoryNode {
  const size = 90 * GIBIBYTE
  const bytes = noise(5000, 1)
  const extents = Array.from({ length: 9000 }, (_, index) => ({
    start: 10_000_000 * index,
    length: bytes.length,
    async *read() {
      yield bytes
    },
  }))
  const node: FileNode = { kind: 'file', mode: 0o644, ...ATTRIBUTES, size, content: { kind: 'image', image: { size, extents } } }
  return { kind: 'directory', mode: 0o755, ...ATTRIBUTES, entries: [{ name: Buffer.from('holes'), node }] }
}

const scanned = mode === 'many' ? (scanHost(folder, { attributes: () => ({ ...ATTRIBUTES, mode: 0o755 }) }) as DirectoryNode) : undefined
const tree = scanned === undefined ? withHoles() : repeated(scanned, 100)
const started = performance.now()
const pool = zfsPool(tree, {
  name: 'tank',
  seed: 'memory',
  size: mode === 'many' ? 'auto' : 100 * GIBIBYTE,
  properties: { compression: 'lz4' },
  datasets: [{ name: 'tank', mount: '/' }],
})
const planMilliseconds = performance.now() - started
const target = new FileTarget(await open(output, 'w+'), output, false)
const { size } = await pool.pack(target, 0, { jobs: 2 })
await target.close()
const linux = process.platform === 'linux' ? /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'latin1')) : null
const peakKibibytes = Number(linux?.[1] ?? process.resourceUsage().maxRSS)
console.log(JSON.stringify({ size, nodes: pool.plan.datasets[0]?.fileSystem.nodes.length, planMilliseconds, peakKibibytes }))
