/** What is done with a task that carries files, in whatever thread: they are read, hashed, and written where they belong. */
import type { Stop, Work, WorkModule } from '../threads/work.ts'
import { type CarryResult, type CarrySetup, type CarryTask, ROOM_SIZE, RUN_FIELDS } from './carry-protocol.ts'
import { StreamReader } from './stream-reader.ts'
import { writeAt } from './write-slots.ts'

/** Throws UNREADABLE, CHANGED and WRITE_FAILED. */
export const work: WorkModule<CarrySetup, CarryTask, CarryResult> = {
  module: import.meta.url,
  open: (setup, stop) => new Carrying(setup, stop),
}

class Carrying implements Work<CarryTask, CarryResult> {
  readonly #setup: CarrySetup
  readonly #stop: Stop
  readonly #reader: StreamReader
  readonly #room = Buffer.alloc(ROOM_SIZE)

  constructor(setup: CarrySetup, stop: Stop) {
    this.#setup = setup
    this.#stop = stop
    this.#reader = new StreamReader(stop)
  }

  run({ runs, ...part }: CarryTask): CarryResult {
    /** Where the room in hand begins, and what of it is taken. */
    let [start, end] = [0, 0]
    let next = 0
    const writeRoom = (): void => {
      for (; (runs[next] as number) < start + ROOM_SIZE && !this.#stop.isStopped(); next += RUN_FIELDS) {
        const [place = 0, length = 0, position = 0] = runs.subarray(next, next + RUN_FIELDS)
        writeAt(this.#setup.descriptor, this.#setup.label, position, this.#room.subarray(place - start, place - start + length))
      }
    }
    const room = (place: number, length: number): Buffer => {
      if (place >= start + ROOM_SIZE) {
        writeRoom()
        start = place - (place % ROOM_SIZE)
        end = start
      }
      // Zeros between two files.
      if (place > end) this.#room.fill(0, end - start, place - start)
      end = place + length
      return this.#room.subarray(place - start, end - start)
    }
    const { digest } = this.#reader.read(part, { room })
    writeRoom()
    return digest
  }

  close(): void {
    this.#reader.close()
  }
}
