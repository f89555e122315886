/** The snapshots of a qcow2 image, of which one can be read in place of the disk (docs/interop/qcow2.rst, "Snapshots"). */
import { alignUp } from '../../bytes/align.ts'
import { decode } from '../../bytes/decode.ts'
import { quote } from '../../bytes/text.ts'
import { ImageError } from '../../errors.ts'
import { type RandomAccessSource, readPart } from '../../io/source.ts'
import { SNAPSHOT_EXTRA_LIMIT, SNAPSHOT_LIMIT, snapshot, snapshotExtra } from './disk.ts'
import type { Header } from './header.ts'

export interface Snapshot {
  readonly id: string
  readonly name: string
  readonly l1Offset: number
  readonly l1Size: number
  /** Of the disk at that time, in bytes. */
  readonly size: number
}

/** So many are named in a message. */
const NAMED = 20

/** The one with that id, else with that name. Throws NOT_FOUND, USAGE where several have the name, and BAD_INPUT. */
export async function snapshotOf(source: RandomAccessSource, header: Header, wanted: string): Promise<Snapshot> {
  const all = await readSnapshots(source, header)
  const byId = all.filter(({ id }) => id === wanted)
  const found = byId.length > 0 ? byId : all.filter(({ name }) => name === wanted)
  const [first] = found
  const list = all
    .slice(0, NAMED)
    .map(({ id, name }) => `${quote(id)} (${quote(name)})`)
    .join(', ')
  if (first === undefined) {
    const there = all.length === 0 ? 'the image has none' : `there are ${list}${all.length > NAMED ? ' and others' : ''}`
    throw new ImageError('NOT_FOUND', (option) => `qcow2: ${option('snapshot')} is ${quote(wanted)}; ${there}`)
  }
  if (found.length > 1) {
    throw new ImageError(
      'USAGE',
      (option) => `qcow2: ${option('snapshot')} ${quote(wanted)} names ${found.length} of them: ${list}; give an id`,
    )
  }
  return first
}

async function readSnapshots(source: RandomAccessSource, { snapshotCount, snapshotsOffset, size }: Header): Promise<Snapshot[]> {
  if (snapshotCount > SNAPSHOT_LIMIT) {
    throw new ImageError('BAD_INPUT', `qcow2: the header states ${snapshotCount} snapshots, ${SNAPSHOT_LIMIT} are the most`)
  }
  const snapshots: Snapshot[] = []
  let at = snapshotsOffset
  for (let index = 0; index < snapshotCount; index++) {
    const what = `qcow2: snapshot ${index}`
    const record = decode(snapshot, await readPart(source, at, snapshot.size, what), 0, what)
    const { extraSize, idSize, nameSize } = record
    if (extraSize > SNAPSHOT_EXTRA_LIMIT) {
      throw new ImageError('BAD_INPUT', `${what} has ${extraSize} bytes of extra data, ${SNAPSHOT_EXTRA_LIMIT} are the most`)
    }
    const length = snapshot.size + extraSize + idSize + nameSize
    const bytes = Buffer.from(await readPart(source, at, length, what))
    const texts = snapshot.size + extraSize
    snapshots.push({
      id: bytes.toString('utf8', texts, texts + idSize),
      name: bytes.toString('utf8', texts + idSize, length),
      l1Offset: record.l1TableOffset,
      l1Size: record.l1Size,
      size: extraSize < snapshotExtra.size ? size : decode(snapshotExtra, bytes, snapshot.size, what).size,
    })
    at += alignUp(length, 8)
  }
  return snapshots
}
