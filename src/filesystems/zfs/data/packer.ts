/** The stage that reads contents of files and packs their records, by worker threads or in the calling thread; with either come the same bytes. */
import { SEGMENT_FIELDS, Segment } from '../../../data/segments.ts'
import { type Placeable, Stage, TASKS_PER_THREAD } from '../../../data/stage.ts'
import type { BuildContext } from '../../../io/image.ts'
import type { FileNode, TreeDigest } from '../../../tree/tree.ts'
import type { PackingSpec } from '../packing.ts'
import { recordShape } from '../zpl/content.ts'
import type { OwnParts } from './own-files.ts'
import type { RecordStage } from './records.ts'
import { type RecordDataset, type RecordRead, recordSources } from './sources.ts'
import { work } from './work.ts'

/** Bytes of a slot, unless a record is larger: many small files, so that none of them costs a message. */
const SLOT_SIZE = 1 << 20
/** Of all slots; of large records fewer wait. */
const SLOTS_SIZE_MAXIMUM = 192 << 20
/** Starting a thread takes as long as packing so many bytes. */
const BYTES_WORTH_A_THREAD = 4 << 20
/** Slots that only the stream whose turn it is may take. */
const HEAD_SLOTS = 2

export interface PackerRequest {
  readonly datasets: readonly RecordDataset[]
  readonly digests: readonly TreeDigest[]
  readonly packings: readonly PackingSpec[]
  /** Of all records. */
  readonly recordSizeMaximum: number
  /** About how much will come. */
  readonly contentBytes: number
  /** Called with the bytes of files that were read. */
  readonly onRead: (bytes: number) => void
}

/** Threads start at once. */
export function openPacker(request: PackerRequest, context: BuildContext): RecordStage {
  const { datasets, digests, packings, recordSizeMaximum, contentBytes, onRead } = request
  const slotSize = Math.max(SLOT_SIZE, recordSizeMaximum)
  const isAlone = context.threads === 'none' || contentBytes < BYTES_WORTH_A_THREAD
  const slotsMaximum = Math.floor(SLOTS_SIZE_MAXIMUM / 2 / slotSize)
  const stage: RecordStage = new Stage(
    {
      work,
      setup: (slots) => ({ ...slots, packings }),
      sources: recordSources(datasets, digests, slotSize, context.signal),
      place: (placeable) => place(placeable, stage, onRead),
      finish: () => undefined,
      task: ({ slot, packing, parts }, outputSlot) => ({ kind: 'job', slot, outputSlot, packing, parts }),
      kept: { always: 0, forHead: HEAD_SLOTS },
      inputSlotSize: slotSize,
      outputSlotSize: slotSize,
      spareSlots: (jobs) => (jobs === 0 ? TASKS_PER_THREAD : Math.min(4 + 4 * jobs, Math.max(jobs + 1, slotsMaximum))),
    },
    { ...context, jobs: Math.max(1, Math.min(context.jobs, Math.ceil(contentBytes / slotSize))), threads: isAlone ? 'none' : 'workers' },
  )
  stage.start()
  return stage
}

/** One job a slot. */
function place(placeable: Placeable<OwnParts, RecordRead>, stage: RecordStage, onRead: (bytes: number) => void): boolean {
  if (stage.isFull) return false
  const { slot } = placeable
  const { dataset, parts, files, firstRecords, bytes } = 'own' in placeable ? placeable.own : partsOf(placeable.read)
  if (files.length > 0) {
    const { packing, compressionId } = dataset
    stage.inputs.hold(slot)
    stage.queue({ slots: [slot], slot, packing, compressionId, parts: Int32Array.from(parts), files, firstRecords })
  }
  onRead(bytes)
  return true
}

/** Of files that are new. */
function partsOf({ files: nodes, segments, dataset }: RecordRead): OwnParts {
  const parts: number[] = []
  const files: number[] = []
  const firstRecords: number[] = []
  let bytes = 0
  for (const [index, node] of nodes.entries()) {
    const field = (name: number): number => segments[index * SEGMENT_FIELDS + name] as number
    const file = dataset.files.get(node as FileNode)
    if (file === undefined || file <= dataset.done) continue
    const [offset, length] = [field(Segment.fileOffset), field(Segment.length)]
    const { recordSize } = recordShape(node.size, dataset.recordSize)
    parts.push(field(Segment.place), length, recordSize)
    files.push(file)
    firstRecords.push(offset / recordSize)
    bytes += length
    if (offset + length === node.size) dataset.done = file
  }
  return { dataset, parts, files, firstRecords, bytes }
}
