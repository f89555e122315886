/** Harm to a store, and how it is undone. */
import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'

/** Of a store path's base name, before its name. */
const HASH_LENGTH = 32

/** What is done to what lies at a path of the host. */
export type Harm = (path: string) => void

export interface HarmableStore {
  /** The store path of this name, without its hash; any other text as it is. */
  named(name: string): string
  /** The first regular file with bytes below a store path, or the path itself. */
  fileBelow(path: string): string | undefined
  /** Do harm to what lies at `path` in the store, whose folders are read-only. */
  harm(path: string, action: Harm): void
  /** Put the store path of `path` back as it was. */
  heal(path: string): void
  whileHarmed<T>(path: string, action: Harm, run: () => Promise<T>): Promise<T>
}

/** `store` is a folder of store paths, of which a copy is made at `pristine`. */
export function harmableStore(store: string, pristine: string): HarmableStore {
  copyStore(store, pristine)
  const harm: HarmableStore['harm'] = (path, action) => {
    const folder = dirname(join(store, path))
    const { mode } = lstatSync(folder)
    chmodSync(folder, 0o755)
    action(join(store, path))
    chmodSync(folder, mode & 0o777)
  }
  const heal: HarmableStore['heal'] = (path) => {
    const [storePath = ''] = path.split('/')
    spawnSync('chmod', ['-R', 'u+w', join(store, storePath)])
    rmSync(join(store, storePath), { recursive: true, force: true })
    copyStore(join(pristine, storePath), join(store, storePath))
  }
  const fileBelow: HarmableStore['fileBelow'] = (path) => {
    const stats = lstatSync(join(pristine, path))
    if (stats.isFile()) return stats.size > 0 ? path : undefined
    if (!stats.isDirectory()) return undefined
    for (const name of readdirSync(join(pristine, path)).sort()) {
      const found = fileBelow(join(path, name))
      if (found !== undefined) return found
    }
    return undefined
  }
  return {
    named: (name) => readdirSync(pristine).find((entry) => entry.slice(HASH_LENGTH + 1) === name) ?? name,
    fileBelow,
    harm,
    heal,
    async whileHarmed(path, action, run) {
      harm(path, action)
      try {
        return await run()
      } finally {
        heal(path)
      }
    },
  }
}

/** `cp -a`, whose result keeps modes, times and links. */
function copyStore(from: string, to: string): void {
  const { status, stderr } = spawnSync('cp', ['-a', from, to])
  if (status !== 0) throw new Error(`cp: ${stderr}`)
}

export const flipByte: Harm = (path) => {
  const bytes = readFileSync(path)
  const at = bytes.length >> 1
  bytes[at] = (bytes[at] ?? 0) ^ 1
  const { mode } = lstatSync(path)
  chmodSync(path, 0o644)
  writeFileSync(path, bytes)
  chmodSync(path, mode & 0o777)
}

export const toFolder: Harm = (path) => {
  rmSync(path, { recursive: true })
  mkdirSync(path)
}
export const toPipe: Harm = (path) => {
  rmSync(path)
  spawnSync('mkfifo', [path])
}
export const toPipeNamed =
  (name: string): Harm =>
  (path) =>
    void spawnSync('mkfifo', [join(dirname(path), name)])
export const toLink =
  (target: string): Harm =>
  (path) => {
    rmSync(path, { recursive: true })
    symlinkSync(target, path)
  }
export const toLinkToItself: Harm = (path) => {
  renameSync(path, `${path}.moved`)
  symlinkSync(`${path}.moved`, path)
}
export const grow: Harm = (path) => {
  chmodSync(path, 0o644)
  writeFileSync(path, 'more', { flag: 'a' })
}
export const shrinkTo =
  (size: number): Harm =>
  (path) => {
    chmodSync(path, 0o644)
    truncateSync(path, size)
  }
export const removed: Harm = (path) => rmSync(path, { recursive: true })

/** Harm to a file between its listing and its reading, and the error's code. `shrunk` is smaller than the file. */
export function changesOf(shrunk: number): [what: string, harm: Harm, code: string][] {
  return [
    ['is written to', flipByte, 'HASH_MISMATCH'],
    ['grows', grow, 'CHANGED'],
    ['shrinks', shrinkTo(shrunk), 'CHANGED'],
    ['vanishes', removed, 'CHANGED'],
    ['becomes a link to its like', toLinkToItself, 'CHANGED'],
    ['becomes a pipe', toPipe, 'CHANGED'],
    ['becomes a folder', toFolder, 'CHANGED'],
  ]
}
