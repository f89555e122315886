/** A tree against a folder of the host: names, kinds, execute bits, link targets and bytes. */
import { lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { contentRange } from '../../src/tree/content.ts'
import type { TreeNode } from '../../src/tree/tree.ts'

/** What differs, a line each; none for equal ones. `change` is applied to our bytes before they are compared. */
export async function compareWithDisk(
  node: TreeNode | undefined,
  path: string,
  change: (bytes: Buffer) => Buffer = (bytes) => bytes,
  name = '',
): Promise<string[]> {
  const shown = name === '' ? '.' : name
  const stats = lstatSync(path, { throwIfNoEntry: false })
  if (node === undefined || stats === undefined) return [`${shown}: is only in one`]
  if (node.kind === 'symlink') {
    if (!stats.isSymbolicLink()) return [`${shown}: is a link only in one`]
    return change(Buffer.from(node.target)).equals(readlinkSync(path, 'buffer')) ? [] : [`${shown}: leads elsewhere`]
  }
  if (node.kind === 'file') {
    if (!stats.isFile()) return [`${shown}: is a file only in one`]
    const parts: Uint8Array[] = []
    for await (const part of contentRange(node, 0, node.size)) parts.push(typeof part === 'number' ? Buffer.alloc(part) : Buffer.from(part))
    const isSame = change(Buffer.concat(parts)).equals(readFileSync(path))
    const isSameMode = (stats.mode & 0o100) === (node.mode & 0o100)
    return [...(isSame ? [] : [`${shown}: other bytes`]), ...(isSameMode ? [] : [`${shown}: other execute bit`])]
  }
  if (node.kind !== 'directory' || !stats.isDirectory()) return [`${shown}: is a folder only in one`]
  const ours = new Map(node.entries.map((entry) => [Buffer.from(entry.name).toString(), entry.node]))
  const names = [...new Set([...ours.keys(), ...readdirSync(path)])].sort()
  const below = names.map((one) => compareWithDisk(ours.get(one), `${path}/${one}`, change, name === '' ? one : `${name}/${one}`))
  return (await Promise.all(below)).flat()
}
