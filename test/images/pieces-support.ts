/** The small closure and folders for its pieces. */
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { Worker } from 'node:worker_threads'
import { removeStore, unpackSmall } from '../../fixtures/unpack.ts'
import { openPieces, type Piece, type PieceSettings } from '../../src/images/pieces/index.ts'
import type { PieceInput } from '../../src/images/pieces/key.ts'
import type { BuildContext, Image } from '../../src/io/image.ts'
import { imageChunks } from '../../src/io/stream.ts'
import type { Closure } from '../../src/nix/listing/closure.ts'
import { readClosure } from '../../src/nix/listing/read.ts'

export const SQUASHFS: PieceSettings = { kind: 'squashfs', codec: { name: 'zstd', level: 1 }, blockSize: 128 << 10 }
export const CPIO: PieceSettings = { kind: 'cpio', codec: { name: 'zstd', level: 1 } }

export interface PieceWork {
  readonly folder: string
  readonly root: string
  readonly store: string
  readonly closure: Closure
  /** A new empty folder. */
  newFolder(): string
  remove(): Promise<void>
}

export async function pieceWork(): Promise<PieceWork> {
  const folder = mkdtempSync(join(tmpdir(), 'kilnix-pieces-test-'))
  const small = await unpackSmall(join(folder, 'closure'))
  const closure = await readClosure(small.folder)
  return {
    folder,
    root: small.root,
    store: join(small.root, 'nix/store'),
    closure,
    newFolder: () => mkdtempSync(join(folder, 'pieces-')),
    remove: () => removeStore(folder),
  }
}

/** Open `folder`, build, close it. */
export async function buildIn(
  folder: string,
  input: PieceInput,
  settings: PieceSettings,
  context: Partial<BuildContext> = {},
): Promise<readonly Piece[]> {
  const pieces = await openPieces(folder)
  try {
    return await pieces.build(input, settings, { jobs: 1, ...context })
  } finally {
    await pieces.close()
  }
}

/** File names to contents; hidden ones count. */
export function contentsOf(folder: string): Map<string, string> {
  return new Map(
    readdirSync(folder)
      .sort()
      .map((name) => [name, readFileSync(join(folder, name)).toString('latin1')]),
  )
}

export async function bytesOf(image: Image): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of imageChunks(image)) chunks.push(Buffer.from(chunk))
  return Buffer.concat(chunks)
}

/** Write to a file of the store, whose folders and files are read-only, and give back how to undo it. */
export function alter(path: string, change: (bytes: Buffer) => Uint8Array): () => void {
  const before = readFileSync(path)
  const write = (bytes: Uint8Array): void => {
    chmodSync(dirname(path), 0o755)
    rmSync(path)
    writeFileSync(path, bytes)
    chmodSync(path, 0o444)
    chmodSync(dirname(path), 0o555)
  }
  write(change(Buffer.from(before)))
  return () => write(before)
}

export function flipByte(bytes: Buffer): Buffer {
  const at = bytes.length >> 1
  bytes[at] = (bytes[at] ?? 0) ^ 1
  return bytes
}

/** Threads that are started while `work` runs, and how many of them run at its end. */
export async function countThreads<T>(
  work: () => Promise<T>,
): Promise<{ readonly result: T; readonly started: number; readonly left: number }> {
  let started = 0
  const live = new Set<Worker>()
  const onWorker = (worker: Worker): void => {
    started++
    live.add(worker)
    worker.once('exit', () => live.delete(worker))
  }
  process.on('worker', onWorker)
  try {
    const result = await work()
    return { result, started, left: live.size }
  } finally {
    process.off('worker', onWorker)
  }
}

/** The closure without its large paths, for tests in which the number of builds counts. */
export function fewPaths({ closure, root }: PieceWork): PieceInput {
  return { closure: { ...closure, paths: closure.paths.filter(({ narSize = 0 }) => narSize < 1_500_000) }, root }
}
