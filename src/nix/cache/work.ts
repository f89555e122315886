/** What a thread does with a NAR: it unpacks a compressed file, or compares one that lies there. */
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { type Unpacker, unpackStream } from '../../codecs/unpack/index.ts'
import { ImageError, systemErrorCode } from '../../errors.ts'
import { writeError } from '../../io/write-error.ts'
import type { WorkModule } from '../../threads/work.ts'
import { formatSha256 } from '../store/hash.ts'

export interface NarTask {
  readonly kind: 'unpack' | 'compare'
  /** Full store path, for messages. */
  readonly storePath: string
  /** Of the host: what is read, and how messages name it. */
  readonly file: string
  readonly label: string
  readonly compression: Unpacker
  /** Of what is read, where they are known. */
  readonly fileHash?: Uint8Array
  readonly fileSize?: number
  readonly narHash: Uint8Array
  readonly narSize: number
  /** A new file for the NAR; nothing for `compare`. */
  readonly into?: string
}

const CHUNK_SIZE = 1 << 20

export const work: WorkModule<undefined, NarTask, boolean, number> = {
  module: import.meta.url,
  open(_setup, { isStopped }) {
    return { run: (task, tell) => (task.kind === 'compare' ? isIntact(task, isStopped) : unpack(task, tell, isStopped)) }
  },
}

/** Whether a NAR that was kept is the one that is wanted; false for any that cannot be read. */
async function isIntact({ file, narHash, narSize }: NarTask, isStopped: () => boolean): Promise<boolean> {
  const hash = createHash('sha256')
  let size = 0
  try {
    for await (const chunk of createReadStream(file, { highWaterMark: CHUNK_SIZE })) {
      if (isStopped()) return false
      hash.update(chunk as Uint8Array)
      size += (chunk as Uint8Array).length
      if (size > narSize) return false
    }
  } catch {
    return false
  }
  return size === narSize && hash.digest().equals(narHash)
}

/** Throws HASH_MISMATCH for a file or NAR that is another, also when it is longer: what is behind is never unpacked. */
async function unpack(task: NarTask, tell: (count: number) => void, isStopped: () => boolean): Promise<boolean> {
  const { storePath, label, compression, narHash, narSize, into } = task
  const output = into === undefined ? undefined : await guarded(into, () => open(into, 'wx'))
  const hash = createHash('sha256')
  let size = 0
  try {
    for await (const chunk of unpackStream(compression, packedChunks(task, isStopped), label)) {
      size += chunk.length
      if (size > narSize) throw mismatch(task, `it holds more than the ${narSize} bytes of the NAR`)
      hash.update(chunk)
      if (output !== undefined) await guarded(into ?? '', () => writeAll(output, chunk))
      tell(chunk.length)
    }
  } finally {
    await output?.close()
  }
  if (size !== narSize) throw mismatch(task, `it holds ${size} bytes, and the NAR has ${narSize}`)
  const actual = new Uint8Array(hash.digest())
  if (Buffer.compare(actual, narHash) !== 0)
    throw mismatch(task, `${storePath} has the NAR hash ${formatSha256(actual)}, but ${formatSha256(narHash)} is signed`)
  return true
}

async function* packedChunks({ file, label, fileHash, fileSize, ...task }: NarTask, isStopped: () => boolean): AsyncGenerator<Uint8Array> {
  const hash = createHash('sha256')
  let size = 0
  try {
    for await (const chunk of createReadStream(file, { highWaterMark: CHUNK_SIZE })) {
      if (isStopped()) throw new ImageError('ABORTED', 'cancelled while NARs were unpacked')
      hash.update(chunk as Uint8Array)
      size += (chunk as Uint8Array).length
      yield chunk as Uint8Array
    }
  } catch (error) {
    if (error instanceof ImageError) throw error
    const code = systemErrorCode(error)
    throw new ImageError(code === 'ENOENT' ? 'NOT_FOUND' : 'UNREADABLE', `${label}: cannot be read (${code ?? String(error)})`, {
      path: label,
      cause: error,
    })
  }
  if (fileSize !== undefined && size !== fileSize)
    throw mismatch({ label, ...task }, `it has ${size} bytes, and ${fileSize} are registered`)
  if (fileHash === undefined) return
  const actual = new Uint8Array(hash.digest())
  if (Buffer.compare(actual, fileHash) !== 0)
    throw mismatch({ label, ...task }, `the file has the hash ${formatSha256(actual)}, but ${formatSha256(fileHash)} is registered`)
}

function mismatch({ label }: Pick<NarTask, 'label'>, what: string): ImageError {
  return new ImageError('HASH_MISMATCH', `${label}: ${what}; the cache is damaged, name another one`, { path: label })
}

async function writeAll(file: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length; ) done += (await file.write(bytes, done)).bytesWritten
}

async function guarded<T>(path: string, run: () => Promise<T>): Promise<T> {
  try {
    return await run()
  } catch (error) {
    throw writeError(path, error)
  }
}
