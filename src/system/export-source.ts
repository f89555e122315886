/** Closures from streams of `nix-store --export`, whose NARs stay where they are: in the file, or in one that is written for them. */
import { closeSync, createReadStream, write as writeNow } from 'node:fs'
import { realpath } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { PrivateFolder } from '../io/private-folder.ts'
import { writeError } from '../io/write-error.ts'
import { readExport } from '../nix/export/read.ts'
import { listedClosure } from '../nix/listing/read.ts'
import { readError } from '../tree/host-file.ts'
import type { OpenedSource, StoreInput } from './input.ts'

interface ExportOptions {
  readonly allowMissing?: boolean
}

const CHUNK_SIZE = 1 << 20

/** Throws what `readExport` and `listedClosure` throw, UNREADABLE. */
export async function openExportFile(name: string, input: StoreInput, options: ExportOptions): Promise<OpenedSource> {
  const file = await realpath(name)
  const opened = await openExport(hostChunks(name), { file, name, input, options })
  return { ...opened, inputs: [name], close: async () => undefined }
}

async function* hostChunks(name: string): AsyncGenerator<Uint8Array> {
  try {
    yield* createReadStream(name, { highWaterMark: CHUNK_SIZE })
  } catch (error) {
    throw readError(Buffer.from(name), error)
  }
}

/**
 * The stream is kept in the system's temporary folder, where only this user can read it, until the source is closed, or the process
 * ends by a signal. Throws the same, and WRITE_FAILED.
 */
export async function openExportStream(
  chunks: AsyncIterable<Uint8Array>,
  name: string,
  input: StoreInput,
  options: ExportOptions,
): Promise<OpenedSource> {
  const folder = tmpdir()
  const label = `${name}: a copy in ${folder} (TMPDIR chooses the folder)`
  const partial = failing(label, () => PrivateFolder.create(folder))
  try {
    const message = `${name}: the files of an export from a pipe are kept in ${folder} until all is done; TMPDIR chooses another folder, and from a file they are read where they are`
    input.onProgress?.({ kind: 'note', message })
    const file = join(await realpath(folder), partial.name, FILE_NAME)
    const descriptor = failing(label, () => partial.openFile(FILE_NAME, 0o600))
    try {
      const opened = await openExport(copied(chunks, descriptor, label), { file, name, input, options })
      return { ...opened, inputs: [], close: async () => partial.remove() }
    } finally {
      closeSync(descriptor)
    }
  } catch (error) {
    partial.remove()
    throw error
  }
}

const FILE_NAME = 'export'

function failing<T>(label: string, call: () => T): T {
  try {
    return call()
  } catch (error) {
    throw writeError(label, error)
  }
}

const writeLater = promisify(writeNow)

/** The same chunks, each once it is written. */
async function* copied(chunks: AsyncIterable<Uint8Array>, descriptor: number, label: string): AsyncGenerator<Uint8Array> {
  let position = 0
  for await (const chunk of chunks) {
    for (let done = 0; done < chunk.length; ) {
      const { bytesWritten } = await writeLater(descriptor, chunk, done, chunk.length - done, position + done).catch((error: unknown) => {
        throw writeError(label, error)
      })
      done += bytesWritten
    }
    position += chunk.length
    yield chunk
  }
}

interface Opening {
  /** Where the stream is, or will be. */
  readonly file: string
  readonly name: string
  readonly input: StoreInput
  readonly options: ExportOptions
}

async function openExport(
  chunks: AsyncIterable<Uint8Array>,
  { file, name, input: { root = '/', signal }, options }: Opening,
): Promise<Omit<OpenedSource, 'inputs' | 'close'>> {
  const { listing, nars } = await readExport(chunks, { name, signal })
  const closure = await listedClosure(listing, name, { ...options, signal })
  return { closure, root, nars: new Map(nars.map(({ baseName, start, size }) => [baseName, { file, start, size }])), roots: [] }
}
