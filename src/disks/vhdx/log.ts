/**
 * The log of a VHDX file (MS-VHDX 2.3): changes that a machine which was not shut down has left, replayed in memory. The file stays as
 * it is.
 */
import { decode } from '../../bytes/decode.ts'
import { ImageError } from '../../errors.ts'
import { type RandomAccessSource, readPart } from '../../io/source.ts'
import { dataDescriptor, isSound, LOG_SECTOR_SIZE, logEntry, SIGNATURE, zeroDescriptor } from './disk.ts'

export interface LogPlace {
  readonly logGuid: Uint8Array
  readonly logOffset: number
  readonly logLength: number
}

/** Hyper-V makes logs of 1 MiB, QEMU of up to 128. */
const LOG_LIMIT = 128 << 20
const CHUNK_SIZE = 1 << 20
/** What is summed up in all, in lengths of the log: entries do not overlap, what is left of older ones does. */
const SUM_LIMIT = 16
/** Changes that are kept. */
const CHANGE_LIMIT = 1 << 16

/** Bytes of the file that are others; without `bytes` zeros. */
interface Change {
  readonly start: number
  readonly length: number
  readonly bytes?: Uint8Array
}

interface Entry {
  readonly position: number
  readonly length: number
  readonly tail: number
  readonly sequenceNumber: number
  /** All of it, in one piece. */
  readonly bytes: Buffer
}

/** The file as it is with its log. Throws BAD_INPUT for a log that is damaged, LIMIT for one that is too large. */
export async function replayed(source: RandomAccessSource, { logGuid, logOffset, logLength }: LogPlace): Promise<RandomAccessSource> {
  if (logGuid.every((byte) => byte === 0) || logLength === 0) return source
  if (logLength > LOG_LIMIT) throw new ImageError('LIMIT', `vhdx: the log has ${logLength} bytes; ${LOG_LIMIT} are read`)
  if (logLength % LOG_SECTOR_SIZE !== 0) throw new ImageError('BAD_INPUT', `vhdx: the log has ${logLength} bytes, no whole sectors`)
  const log = Buffer.alloc(logLength)
  for (let done = 0; done < logLength; done += CHUNK_SIZE) {
    log.set(await readPart(source, logOffset + done, Math.min(CHUNK_SIZE, logLength - done), 'vhdx log'), done)
  }
  const { entries, isUsed } = soundEntries(log, logGuid)
  const sequence = activeSequence(entries, logLength)
  if (sequence === undefined) {
    if (!isUsed) return source
    throw new ImageError(
      'BAD_INPUT',
      'vhdx: the log holds changes that are not in their place yet, and is damaged; take a copy from before',
    )
  }
  return changed(source, sequence.flatMap(changesOf))
}

/** Entries of this log's time whose checksum is right, by their places; others are what is left of older ones. */
function soundEntries(log: Buffer, logGuid: Uint8Array): { readonly entries: ReadonlyMap<number, Entry>; readonly isUsed: boolean } {
  const entries = new Map<number, Entry>()
  let isUsed = false
  let summed = 0
  for (let position = 0; position < log.length; position += LOG_SECTOR_SIZE) {
    const header = decode(logEntry, log, position, 'vhdx log entry')
    if (Buffer.compare(header.signature, SIGNATURE.logEntry) !== 0 || Buffer.compare(header.logGuid, logGuid) !== 0) continue
    isUsed = true
    const { entryLength: length, tail, sequenceNumber } = header
    if (length < LOG_SECTOR_SIZE || length > log.length || length % LOG_SECTOR_SIZE !== 0 || sequenceNumber === 0) continue
    summed += length
    if (summed > SUM_LIMIT * log.length)
      throw new ImageError('BAD_INPUT', 'vhdx: the entries of the log lie in each other; the file is made to do harm')
    const bytes = Buffer.concat([log.subarray(position, position + length), log.subarray(0, Math.max(0, position + length - log.length))])
    if (isSound(bytes, SIGNATURE.logEntry)) entries.set(position, { position, length, tail, sequenceNumber, bytes })
  }
  return { entries, isUsed }
}

/** 2.3.3: the run of entries, each with the next number, from the tail of the last one to the last one, with the highest numbers. */
function activeSequence(entries: ReadonlyMap<number, Entry>, logLength: number): Entry[] | undefined {
  const heads = [...entries.values()].sort((a, b) => b.sequenceNumber - a.sequenceNumber)
  let walked = 0
  for (const head of heads) {
    const sequence: Entry[] = []
    for (let entry = entries.get(head.tail); entry !== undefined; entry = entries.get((entry.position + entry.length) % logLength)) {
      const last = sequence.at(-1)
      if (last !== undefined && entry.sequenceNumber !== last.sequenceNumber + 1) break
      sequence.push(entry)
      if (entry === head) return sequence
      if (++walked > SUM_LIMIT * entries.size) return undefined
    }
  }
  return undefined
}

function changesOf({ bytes, length, position }: Entry): Change[] {
  const damaged = (): ImageError => new ImageError('BAD_INPUT', `vhdx: the log entry at ${position} has a descriptor that is none`)
  const { descriptorCount } = decode(logEntry, bytes, 0, 'vhdx log entry')
  const descriptorsEnd = logEntry.size + descriptorCount * dataDescriptor.size
  if (descriptorsEnd > length) throw damaged()
  let sector = Math.ceil(descriptorsEnd / LOG_SECTOR_SIZE) * LOG_SECTOR_SIZE
  const changes: Change[] = []
  for (let at = logEntry.size; at < descriptorsEnd; at += dataDescriptor.size) {
    const { signature, fileOffset: start, leadingBytes, trailingBytes } = decode(dataDescriptor, bytes, at, 'vhdx log descriptor')
    if (!Number.isSafeInteger(start) || start % LOG_SECTOR_SIZE !== 0) throw damaged()
    if (Buffer.compare(signature, SIGNATURE.zeroDescriptor) === 0) {
      const { zeroLength } = decode(zeroDescriptor, bytes, at, 'vhdx zero descriptor')
      if (!Number.isSafeInteger(start + zeroLength)) throw damaged()
      changes.push({ start, length: zeroLength })
      continue
    }
    if (Buffer.compare(signature, SIGNATURE.dataDescriptor) !== 0 || sector + LOG_SECTOR_SIZE > length) throw damaged()
    const data = Uint8Array.from(bytes.subarray(sector, sector + LOG_SECTOR_SIZE))
    if (Buffer.compare(data.subarray(0, SIGNATURE.dataSector.length), SIGNATURE.dataSector) !== 0) throw damaged()
    data.set(leadingBytes, 0)
    data.set(trailingBytes, LOG_SECTOR_SIZE - trailingBytes.length)
    changes.push({ start, length: LOG_SECTOR_SIZE, bytes: data })
    sector += LOG_SECTOR_SIZE
  }
  return changes
}

/** Later changes count. What lies behind the end of the file is there when the log has data for it. */
function changed(source: RandomAccessSource, changes: readonly Change[]): RandomAccessSource {
  if (changes.length > CHANGE_LIMIT) throw new ImageError('LIMIT', `vhdx: the log has ${changes.length} changes; ${CHANGE_LIMIT} are read`)
  const size = changes.reduce((end, { start, length, bytes }) => (bytes === undefined ? end : Math.max(end, start + length)), source.size)
  return {
    size,
    async read(position, length) {
      const present = Math.max(0, Math.min(length, source.size - position))
      const bytes = present === length ? await source.read(position, length) : new Uint8Array(length)
      if (present > 0 && present < length) bytes.set(await source.read(position, present))
      for (const change of changes) {
        const from = Math.max(position, change.start)
        const to = Math.min(position + length, change.start + change.length)
        if (to <= from) continue
        if (change.bytes === undefined) bytes.fill(0, from - position, to - position)
        else bytes.set(change.bytes.subarray(from - change.start, to - change.start), from - position)
      }
      return bytes
    },
  }
}
