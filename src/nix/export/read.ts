/**
 * Streams of `nix-store --export` (`libstore/export-import.cc`): store paths with what they refer to.
 *
 *     stream    = { 1 NAR 0x4558494e path references deriver signature } 0
 *     references = count { path }
 *     signature = 0 | 1 string
 *
 * where a number is 64 bits, little endian, and a string is its length, its bytes, and zeros up to a multiple of 8. Neither the length
 * nor the hash of a NAR is in it.
 */
import { createHash } from 'node:crypto'
import { badInput, throwIfAborted } from '../../errors.ts'
import { type ListedPath, type Listing, NameTable } from '../listing/listing.ts'
import { badNar, narSteps } from '../nar/grammar.ts'
import { ByteQueue } from '../nar/read.ts'
import { padding } from '../nar/serialize.ts'
import { parseStorePath, storePath } from '../store/store-path.ts'

/** Where a NAR lies in the stream. */
export interface ExportedNar {
  readonly baseName: string
  readonly start: number
  /** Bytes. */
  readonly size: number
}

export interface ReadExport {
  readonly listing: Listing
  readonly nars: readonly ExportedNar[]
}

export interface ReadExportOptions {
  /** Names the stream in errors. */
  readonly name: string
  readonly signal?: AbortSignal | undefined
}

const NAR_FOLLOWS = 1
/** "NIXE". */
const RECORD_MAGIC = 0x4558494e
/** The longest store path is shorter. */
const STRING_LIMIT = 4096

/**
 * Read the stream that `chunks` are to its end. Sizes and hashes are those of the NARs in it, of which every rule is checked. Throws
 * BAD_INPUT with the offset in the stream for anything else than the format, also for bytes behind its end; ABORTED; and what the
 * input throws. A stream that fails is closed.
 */
export async function readExport(chunks: AsyncIterable<Uint8Array>, { name, signal }: ReadExportOptions): Promise<ReadExport> {
  const input = new ExportInput(chunks, name)
  const table = new NameTable()
  const paths: ListedPath[] = []
  const nars: ExportedNar[] = []
  try {
    for (;;) {
      const at = input.position
      const next = await input.number()
      if (next === 0) break
      if (next !== NAR_FOLLOWS) throw input.fault('there is neither a store path nor the end', at)
      const start = input.position
      const narHash = await input.nar(`${name}: path ${paths.length + 1}`, signal)
      const narSize = input.position - start
      const record = input.position
      if ((await input.number()) !== RECORD_MAGIC) throw input.fault('the record of the store path does not follow its NAR', record)
      const where = `${name}: at byte ${input.position}`
      const baseName = parseStorePath(await input.string(), where)
      const count = await input.number()
      const references: number[] = []
      while (references.length < count) references.push(table.indexOf(parseStorePath(await input.string(), where)))
      const deriver = await input.string()
      const signature = input.position
      const signatures = await input.number()
      if (signatures > 1) throw input.fault('something else stands where a signature may be', signature)
      if (signatures === 1) await input.string()
      paths.push({
        name: table.indexOf(baseName),
        where,
        narHash,
        narSize,
        references,
        ...(deriver !== '' && { deriver: storePath(parseStorePath(deriver, where)) }),
      })
      nars.push({ baseName, start, size: narSize })
    }
    if (!(await input.isAtEnd())) throw input.fault('bytes follow behind its end, which Nix does not read; give one stream of all paths')
    return { listing: { kind: 'export', names: table.names, paths }, nars }
  } finally {
    await input.close()
  }
}

class ExportInput {
  readonly #queue: ByteQueue
  readonly #name: string

  constructor(chunks: AsyncIterable<Uint8Array>, name: string) {
    this.#name = name
    this.#queue = new ByteQueue(chunks, (position) => this.fault('it ends here, too early; it is cut short', position))
  }

  /** Of the first byte that is not taken. */
  get position(): number {
    return this.#queue.position
  }

  fault(what: string, at = this.position): Error {
    return badInput(this.#name, `no valid stream of nix-store --export: at byte ${at}: ${what}`)
  }

  /** One of 2^53 or more is not exact, and too large wherever it stands. */
  async number(): Promise<number> {
    const bytes = this.#queue.takeNow(8) ?? (await this.#queue.take(8))
    return bytes.readUInt32LE(0) + bytes.readUInt32LE(4) * 2 ** 32
  }

  async string(): Promise<string> {
    const at = this.position
    const length = await this.number()
    if (length > STRING_LIMIT) throw this.fault(`a string has ${length} bytes, the limit is ${STRING_LIMIT}`, at)
    const size = length + padding(length)
    const bytes = this.#queue.takeNow(size) ?? (await this.#queue.take(size))
    if (bytes.subarray(length).some((byte) => byte !== 0)) throw this.fault('the padding of a string is not zero', at)
    return bytes.toString('latin1', 0, length)
  }

  /** Take one NAR; its SHA-256. */
  async nar(where: string, signal: AbortSignal | undefined): Promise<Uint8Array> {
    const queue = this.#queue
    const start = this.position
    const hash = createHash('sha256')
    queue.hash(hash)
    const steps = narSteps(where)
    for (let step = steps.next(); !step.done; ) {
      const { value } = step
      if (typeof value === 'number') {
        step = steps.next(queue.takeNow(value) ?? (await queue.take(value)))
        continue
      }
      if (value.kind === 'file') {
        for (let rest = value.size; rest > 0; ) {
          throwIfAborted(signal)
          if (await queue.isAtEnd()) throw badNar(where, this.position - start, [], 'it ends here, too early; it is cut short')
          rest -= (await queue.takeSome(rest)).length
        }
      }
      step = steps.next(NOTHING)
    }
    queue.hash(undefined)
    return new Uint8Array(hash.digest())
  }

  isAtEnd(): Promise<boolean> {
    return this.#queue.isAtEnd()
  }

  close(): Promise<void> {
    return this.#queue.close()
  }
}

const NOTHING = Buffer.alloc(0)
