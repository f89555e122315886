/** Where stored blocks go: to the file of a target, by threads, or through the target itself. */
import { SlotWriter } from '../../data/slot-writer.ts'
import type { Target } from '../../io/target.ts'
import type { RecordStage } from './data/records.ts'
import { RunWriter, WriteQueue } from './run-writer.ts'

/** Where in output slots bytes lie. */
export interface SlotPlace {
  readonly slot: number
  readonly offset: number
}

export interface BlockSink {
  /**
   * Copy number `copy` of a block; the next one of that number lies behind it or elsewhere. The bytes may be overwritten
   * afterwards, unless they lie in a slot, which is held as long as it has to.
   */
  write(copy: number, place: number, bytes: Uint8Array, from: SlotPlace | undefined): void
  /** Undefined when more may be written at once. Throws what writing threw. */
  drained(): Promise<void> | undefined
  /** Nothing comes before what is under way is done. */
  flush(): void
  /** Resolves when all is written. Throws what writing threw. */
  finish(): Promise<void>
  /** Nothing is written any more when this resolves, but for what threads have in hand. */
  abandon(cause: unknown): Promise<void>
}

const COPIES_MAXIMUM = 3

/** Places count from `origin` of the target, and are multiples of `unit`. */
export function openSink(target: Target, origin: number, unit: number, stage: RecordStage): BlockSink {
  const { lent } = target
  return lent === undefined
    ? targetSink(target, origin, unit)
    : fileSink(new SlotWriter(stage, lent, { lanes: COPIES_MAXIMUM, unit }), origin, stage)
}

function targetSink(target: Target, origin: number, unit: number): BlockSink {
  const queue = new WriteQueue(target, origin)
  const runs = Array.from({ length: COPIES_MAXIMUM }, () => new RunWriter(queue, unit))
  return {
    write: (copy, place, bytes) => runs[copy]?.write(place, bytes),
    drained: () => queue.drained(),
    flush: () => undefined,
    finish() {
      for (const run of runs) run.flush()
      return queue.finish()
    },
    abandon: (cause) => queue.abandon(cause),
  }
}

/** Bytes that are worth a message. */
const WRITE_SIZE = 1 << 20
/** So many writes may be under way before whoever makes blocks has to wait. */
const WRITES_MAXIMUM = 8

function fileSink(writer: SlotWriter, origin: number, stage: RecordStage): BlockSink {
  return {
    write(copy, place, bytes, from) {
      if (from === undefined) writer.addBytes(origin + place, bytes, copy)
      else writer.add(origin + place, from.slot, from.offset, bytes.length, copy)
      if (writer.waiting >= WRITE_SIZE) writer.flush()
    },
    drained: () => (stage.tasksUnderWay <= WRITES_MAXIMUM ? undefined : stage.settled(WRITES_MAXIMUM / 2)),
    flush: () => writer.flush(),
    finish() {
      writer.flush()
      return stage.settled()
    },
    abandon: async () => undefined,
  }
}
