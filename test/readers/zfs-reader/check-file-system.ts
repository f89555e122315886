/** Directories, links, sizes and owners of one file system (OpenZFS `module/zfs/{zfs_znode,zfs_dir,zfs_quota}.c`). */

import type { Wrong } from './check.ts'
import { checkAccounts } from './check-accounts.ts'
import { type FileSystem, type FileSystemNode, MASTER_NODE } from './file-system.ts'
import { comparedName, normalizationOf, readZap, type Zap, zapNumber } from './zap.ts'

const OBJSET_TYPE = 2
const FILE_TYPE = 19
const DIRECTORY_TYPE = 20
const NAME_MAXIMUM = 255
const MODE = 5
/** The quota code looks for these where they stand first: MODE SIZE GEN UID GID PARENT FLAGS. */
const FIRST_ATTRIBUTES = [MODE, 6, 4, 12, 13, 7, 11]
/** And for a project at this place behind the header. */
const BEFORE_PROJECT = [0, 1, 2, 3, 8]
const PROJECT_FLAG = 0x800000000000n
const UPPER_CASE = 2
const UTF8 = new TextDecoder('utf-8', { fatal: true })

export function checkFileSystem(fileSystem: FileSystem, wrong: Wrong): void {
  checkSystemObjects(fileSystem, wrong)
  const { nodes, objset } = fileSystem
  const names = reach(fileSystem, wrong)
  for (const [object, node] of nodes) {
    const say: Wrong = (what) => wrong(`object ${object}: ${what}`)
    const found = names.get(object)
    if (found === undefined) say('no directory has it')
    else checkLinks(fileSystem, node, found, say)
    checkAttributes(node, say)
    checkContent(node, say)
    if (node.generation < 1 || node.generation > objset.root.pointer.birthTxg) say(`its generation is ${node.generation}`)
  }
  checkAccounts(fileSystem, wrong)
}

/** All but nodes. */
function checkSystemObjects({ objset, master, nodes, tables }: FileSystem, wrong: Wrong): void {
  if (objset.type !== OBJSET_TYPE) wrong(`it is a set of type ${objset.type}`)
  const wanted: Readonly<Record<string, number>> = { VERSION: 5 }
  for (const [name, value] of Object.entries(wanted)) if (zapNumber(master, name) !== value) wrong(`${name} is ${zapNumber(master, name)}`)
  const attributes = zapNumber(master, 'SA_ATTRS')
  const maps: Zap = readZap(objset.objects.get(attributes)?.content, objset.objects.get(attributes)?.blockSize ?? 0)
  const queue = zapNumber(master, 'DELETE_QUEUE')
  const types = new Map([
    [MASTER_NODE, 21],
    [attributes, 45],
    [zapNumber(maps, 'REGISTRY'), 46],
    [zapNumber(maps, 'LAYOUTS'), 47],
    [queue, 22],
  ])
  for (const [object, stored] of objset.objects) {
    const type = types.get(object)
    if (type !== undefined && (stored.type !== type || stored.bonusType !== 0))
      wrong(`object ${object} has the type ${stored.type}, not ${type}`)
    if (type === undefined && !nodes.has(object)) wrong(`object ${object} of type ${stored.type} is nothing that is known`)
  }
  const deleted = objset.objects.get(queue)
  if (readZap(deleted?.content, deleted?.blockSize ?? 0).size > 0) wrong('something waits for its deletion')
  for (const [number, layout] of tables.layouts) {
    if (FIRST_ATTRIBUTES.some((attribute, index) => layout[index] !== attribute) && layout.includes(MODE))
      wrong(`the layout ${number} is ${layout}`)
  }
}

/** How a file system compares names: the flags of its directories, and those by which no two names may be equal. */
function namesOf({ master }: FileSystem): { readonly flags: number; readonly unique: number; readonly isUtf8: boolean } {
  const normalization = zapNumber(master, 'normalization')
  const caseSensitivity = zapNumber(master, 'casesensitivity')
  return {
    flags: normalization | (caseSensitivity === 0 ? 0 : UPPER_CASE),
    unique: normalization | (caseSensitivity === 1 ? UPPER_CASE : 0),
    isUtf8: zapNumber(master, 'utf8only') !== 0,
  }
}

interface Names {
  count: number
  readonly parents: Set<number>
}

/** Names of each object, from the root on. */
function reach(fileSystem: FileSystem, wrong: Wrong): Map<number, Names> {
  const { nodes, root } = fileSystem
  const names = new Map<number, Names>([[root, { count: 1, parents: new Set([root]) }]])
  const { flags, unique, isUtf8 } = namesOf(fileSystem)
  const queue = [root]
  for (let object = queue.pop(); object !== undefined; object = queue.pop()) {
    const directory = nodes.get(object)
    const { content } = directory?.stored ?? {}
    if (content !== undefined && normalizationOf(content) !== flags)
      wrong(`object ${object}: its names have the form ${normalizationOf(content)}`)
    const forms = new Set(directory?.entries.map(({ name }) => comparedName(name, unique).toString('latin1')))
    if (directory !== undefined && forms.size !== directory.entries.length) wrong(`object ${object}: two names count as one`)
    for (const { name, object: target, kind } of directory?.entries ?? []) {
      const say: Wrong = (what) => wrong(`'${name}' of ${object}: ${what}`)
      const node = nodes.get(target)
      if (name.length > NAME_MAXIMUM || name.includes(0x2f) || ['.', '..'].includes(name.toString('latin1'))) say('no such name can be')
      if (isUtf8 && !isText(name)) say('the name is not UTF-8')
      if (node === undefined) say(`there is no object ${target}`)
      else if (node.kind !== kind) say(`it is called a ${kind} and is a ${node.kind}`)
      const found = names.get(target)
      found?.parents.add(object)
      if (found !== undefined) found.count++
      else {
        names.set(target, { count: 1, parents: new Set([object]) })
        if (node?.kind === 'directory') queue.push(target)
      }
    }
  }
  return names
}

function isText(name: Buffer): boolean {
  try {
    return UTF8.decode(name) !== ''
  } catch {
    return false
  }
}

function checkLinks({ nodes, root }: FileSystem, node: FileSystemNode, { count, parents }: Names, say: Wrong): void {
  const { kind, entries, links, parent, size, stored } = node
  const isDirectory = kind === 'directory'
  const below = entries.filter(({ object }) => nodes.get(object)?.kind === 'directory').length
  const wanted = isDirectory ? 2 + below : count
  if (links !== wanted) say(`it has ${links} links, not ${wanted}`)
  if (isDirectory && count !== 1) say(`${count} directories have it`)
  if (!parents.has(parent)) say(`its parent is ${parent}, not ${[...parents]}`)
  if (isDirectory && size !== entries.length + 2) say(`its size is ${size} with ${entries.length} entries`)
  if (isDirectory !== (stored.type === DIRECTORY_TYPE) || (!isDirectory && stored.type !== FILE_TYPE))
    say(`a ${kind} of type ${stored.type}`)
  if (stored.object === root && !isDirectory) say('the root is no directory')
}

function checkAttributes({ kind, flags, project, layout, device, times, aces, target, size }: FileSystemNode, say: Wrong): void {
  if (FIRST_ATTRIBUTES.some((number, index) => layout[index] !== number)) say(`its attributes are ${layout}`)
  const isProject = (flags & PROJECT_FLAG) !== 0n
  if (isProject !== (project !== undefined)) say('a project without its flag, or a flag without project')
  const before = layout.slice(FIRST_ATTRIBUTES.length, FIRST_ATTRIBUTES.length + BEFORE_PROJECT.length)
  if (isProject && (before.join() !== BEFORE_PROJECT.join() || layout[before.length + FIRST_ATTRIBUTES.length] !== 21)) {
    say('its project is not where it is looked for')
  }
  if ((device !== undefined) !== (kind === 'characterDevice' || kind === 'blockDevice')) say('a device number, and it is no device')
  if ((target !== undefined) !== (kind === 'symlink')) say('a target, and it is no link')
  if (target !== undefined && (target.length !== size || size === 0 || target.includes(0)))
    say(`a target of ${target.length} bytes, size ${size}`)
  if (Object.values(times).some(({ nanoseconds }) => nanoseconds >= 1e9)) say('a time with more than a second of nanoseconds')
  if (aces.count < 3 || aces.bytes.length !== 8 * aces.count) say(`${aces.count} access entries in ${aces.bytes.length} bytes`)
}

/** Nothing stands behind the end of a file; what is no file has no data. */
function checkContent(node: FileSystemNode, say: Wrong): void {
  const { kind, size, stored } = node
  const { blockSize, maxBlock } = stored
  if (kind === 'directory') return
  if (kind !== 'file') {
    if (stored.used > 0 && stored.spill === undefined) say(`a ${kind} has data`)
    return
  }
  if (maxBlock > 0 && !Number.isInteger(Math.log2(blockSize))) say(`several blocks of ${blockSize} bytes`)
  if (maxBlock * blockSize >= Math.max(1, size)) say(`its last block is ${maxBlock}, its size ${size}`)
  if (size > blockSize && !Number.isInteger(Math.log2(blockSize))) say(`its size is ${size}, its only block has ${blockSize}`)
  if (stored.contentEnd > size) say(`something stands behind its end, up to ${stored.contentEnd}`)
}
