/** What threads write from slots, and what goes between, to a file that was lent. */
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import type { SlotTask } from '../../src/data/slot-work.ts'
import { SlotWriter } from '../../src/data/slot-writer.ts'
import { Slots, slotted } from '../../src/data/slots.ts'
import { OWN, writePieces } from '../../src/data/write-slots.ts'

const folder = mkdtempSync(join(tmpdir(), 'kilnix-write-'))
afterAll(() => rmSync(folder, { recursive: true }))

const stop = { isStopped: () => false, signal: new AbortController().signal }
const SLOT_SIZE = 4096

function slots(): Slots {
  const own = new Slots(2, SLOT_SIZE)
  for (let slot = 0; slot < 2; slot++)
    own.view(slot, 0, SLOT_SIZE).set(Uint8Array.from({ length: SLOT_SIZE }, (_, index) => (index % 251) + slot + 1))
  return own
}

/** What is in the file after `pieces` and `own` are written over a file of 0xff. */
function written(pieces: readonly number[], own: Uint8Array<ArrayBuffer>, unit: number, memory = slots()): Buffer {
  const path = join(folder, 'file')
  const descriptor = openSync(path, 'w+')
  try {
    writePieces({ descriptor, label: path, pieces: new Float64Array(pieces), own, unit }, slotted(memory), stop)
  } finally {
    closeSync(descriptor)
  }
  return readFileSync(path)
}

describe('pieces', () => {
  it('lie where they belong, with zeros in small gaps', () => {
    const memory = slots()
    const own = Uint8Array.of(9, 8, 7)
    const pieces = [10, 0, 5, 100, 110, OWN, 1, 2, 120, 1, 0, 50, 5000, 1, 4000, 96]
    const found = written(pieces, own, 16, memory)
    const wanted = Buffer.alloc(5096)
    wanted.set(memory.view(0, 5, 100), 10)
    wanted.set([8, 7], 110)
    wanted.set(memory.view(1, 0, 50), 120)
    wanted.set(memory.view(1, 4000, 96), 5000)
    expect(found.equals(wanted)).toBe(true)
  })

  it('may be more than the system writes at once', () => {
    const memory = slots()
    const pieces = Array.from({ length: 3000 }, (_, index) => [index, index % 2, index, 1]).flat()
    const found = written(pieces, new Uint8Array(0), 0, memory)
    expect(found.every((byte, index) => byte === memory.view(index % 2, index, 1)[0])).toBe(true)
    expect(found).toHaveLength(3000)
  })

  it('throw WRITE_FAILED', () => {
    const descriptor = openSync('/dev/full', 'r+')
    const pieces = new Float64Array([0, 0, 0, 10, 10, 1, 0, 10])
    const write = () => writePieces({ descriptor, label: 'the label', pieces, own: new Uint8Array(0), unit: 0 }, slotted(slots()), stop)
    expect(write).toThrow(expect.objectContaining({ code: 'WRITE_FAILED', message: expect.stringContaining('the label') }))
    closeSync(descriptor)
  })
})

describe('a writer', () => {
  it('holds slots until they are written, and tells what that was', () => {
    const outputs = slots()
    const sent: { readonly task: SlotTask; readonly done: () => void }[] = []
    const stage = {
      outputs,
      send: (task: SlotTask, _moved: ArrayBuffer[], onResult: (result: { readonly kind: 'write' }) => void) =>
        void sent.push({ task, done: () => onResult({ kind: 'write' }) }),
    }
    const told: (readonly [position: number, length: number])[] = []
    const writer = new SlotWriter(
      stage,
      { descriptor: 0, label: '', written: (...run) => void told.push(run), runs: () => [] },
      { lanes: 2, unit: 8 },
    )
    const slot = outputs.take()
    writer.add(100, slot, 0, 10)
    writer.add(110, slot, 10, 5)
    writer.addBytes(500, Uint8Array.of(1, 2), 1)
    writer.addBytes(115, Uint8Array.of(3))
    outputs.release(slot)
    expect([writer.waiting, outputs.freeCount, sent.length]).toEqual([18, 1, 0])
    writer.flush()
    writer.flush()
    const [{ task, done } = { task: undefined, done: () => undefined }] = sent
    expect(task).toMatchObject({ kind: 'write', unit: 8, own: Uint8Array.of(1, 2, 3) })
    expect(task?.kind === 'write' && [...task.pieces]).toEqual([100, slot, 0, 15, 115, OWN, 2, 1, 500, OWN, 0, 2])
    expect([writer.waiting, outputs.freeCount, sent.length, told]).toEqual([0, 1, 1, []])
    done()
    expect([outputs.freeCount, told]).toEqual([
      2,
      [
        [100, 15],
        [115, 1],
        [500, 2],
      ],
    ])
  })
})
