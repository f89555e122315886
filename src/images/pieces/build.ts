/** The pieces of a closure: those that are there and sound, and the others built, each by one thread from scan to file. */
import { stat } from 'node:fs/promises'
import { compressorVersion } from '../../codecs/version.ts'
import { ImageError, throwIfAborted } from '../../errors.ts'
import type { BuildContext } from '../../io/image.ts'
import type { ClosurePath } from '../../nix/listing/closure.ts'
import { listedPlace } from '../../nix/store/listed-tree.ts'
import { checkPresent } from '../../nix/store/store-tree.ts'
import { Pool } from '../../threads/pool.ts'
import { plainTree } from '../../tree/plain.ts'
import { type FoundPiece, indexOf, type PartialPiece, type PieceFiles } from './files.ts'
import type { PieceInput } from './key.ts'
import { type PieceKey, type PieceSettings, storePathKey } from './key.ts'
import { checkHere, firstSound, type Piece, pieceOf } from './piece.ts'
import type { BuildTask, Built, CheckTask, PieceTask, TaskAnswer } from './protocol.ts'
import { work } from './work.ts'

/** Up to so many bytes of NARs are packed, and of pieces are checked, in less time than threads take to start. */
const TINY_BUILD_SIZE = 128 << 10
const TINY_CHECK_SIZE = 32 << 20

/** One path of the closure on its way to its piece. */
interface Wanted {
  readonly path: ClosurePath & { readonly narHash: Uint8Array; readonly narSize: number }
  readonly key: PieceKey
  /** In the order in which they are tried. */
  readonly candidates: readonly FoundPiece[]
}

/** As `PieceFolder.build`. */
export async function buildPieces(
  files: PieceFiles,
  input: PieceInput,
  settings: PieceSettings,
  context: BuildContext,
): Promise<readonly Piece[]> {
  throwIfAborted(context.signal)
  const wanted = wantedPieces(input, settings, await files.list())
  await checkPresent(input.closure, input, context.signal)
  const run = new Run(files, input, settings, context)
  try {
    const pieces = await run.reuse(wanted)
    await files.touch([...pieces.values()].map(({ file }) => file))
    for (const [one, piece] of await run.build(wanted.filter((one) => !pieces.has(one)))) pieces.set(one, piece)
    return wanted.map((one) => pieces.get(one)).filter((piece) => piece !== undefined)
  } finally {
    await run.close()
  }
}

function wantedPieces(input: PieceInput, settings: PieceSettings, found: ReadonlyMap<string, readonly FoundPiece[]>): Wanted[] {
  const { closure, caseHack = false, verify = true } = input
  const build = { caseHack, compressor: compressorVersion(settings.codec.name) }
  return closure.paths.map((path) => {
    const { narHash, narSize } = path
    if (narHash === undefined || narSize === undefined) {
      throw new ImageError('USAGE', `${path.path}: its hash is not known; find the hashes of the listing before its pieces are built`, {
        path: path.path,
      })
    }
    const key = storePathKey(path, settings, { ...build, verified: verify })
    // A piece that was verified is as good as one that was not.
    const usable = verify ? [key] : [storePathKey(path, settings, { ...build, verified: true }), key]
    return { path: { ...path, narHash, narSize }, key, candidates: usable.flatMap((one) => found.get(indexOf(one)) ?? []) }
  })
}

type PiecePool = Pool<undefined, PieceTask, TaskAnswer, number>

class Run {
  readonly #files: PieceFiles
  readonly #input: PieceInput
  readonly #settings: PieceSettings
  readonly #context: BuildContext
  readonly #pool: PiecePool
  /** Of this thread. */
  readonly #here: PiecePool
  readonly #partials: PartialPiece[] = []
  /** Everything that was begun. */
  readonly #begun: Promise<unknown>[] = []

  constructor(files: PieceFiles, input: PieceInput, settings: PieceSettings, context: BuildContext) {
    this.#files = files
    this.#input = input
    this.#settings = settings
    this.#context = context
    const { jobs, threads, signal } = context
    this.#pool = new Pool(work, undefined, { count: jobs, threads, inHand: 1, signal })
    this.#here = new Pool(work, undefined, { count: 1, threads: 'none', signal })
  }

  /** The sound pieces that are there. */
  async reuse(wanted: readonly Wanted[]): Promise<Map<Wanted, Piece>> {
    const candidates = wanted.flatMap((one) => one.candidates)
    const sizes = await Promise.all(
      candidates.map(({ file }) =>
        stat(file).then(
          ({ size }) => size,
          () => 0,
        ),
      ),
    )
    const isTiny = sizes.reduce((sum, size) => sum + size, 0) <= TINY_CHECK_SIZE
    const runCheck = isTiny ? checkHere(this.#context.signal) : (task: CheckTask) => this.#pool.run(task)
    const pieces = new Map<Wanted, Piece>()
    await this.#each(wanted, isTiny, async (one) => {
      const sound = await firstSound(this.#files, one.candidates, runCheck, this.#context)
      if (sound) pieces.set(one, pieceOf(one.path.baseName, sound.found, sound.size, true))
    })
    return pieces
  }

  async build(wanted: readonly Wanted[]): Promise<Map<Wanted, Piece>> {
    const pieces = new Map<Wanted, Piece>()
    if (wanted.length === 0) return pieces
    const totalBytes = wanted.reduce((sum, { path }) => sum + path.narSize, 0)
    const progress = this.#progress(totalBytes)
    const isTiny = totalBytes <= TINY_BUILD_SIZE
    const largestFirst = [...wanted].sort((a, b) => b.path.narSize - a.path.narSize)
    await this.#each(largestFirst, isTiny, async (one) => {
      const { narSize, baseName } = one.path
      const partial = this.#files.openPartial()
      this.#partials.push(partial)
      const task = this.#task(one, partial)
      const { size, sha256 } = await this.#run(task, isTiny, (doneBytes) => progress(one, Math.min(doneBytes, narSize)))
      progress(one, narSize)
      pieces.set(one, pieceOf(baseName, { file: this.#files.finish(partial, one.key, sha256), sha256 }, size, false))
    })
    return pieces
  }

  /** Afterwards no thread runs and no partial is left. */
  async close(): Promise<void> {
    await Promise.all([this.#pool.close(), this.#here.close()])
    await Promise.allSettled(this.#begun)
    this.#files.discard(this.#partials)
  }

  /** Do `work` for each, in order, for as many at a time as keep the threads busy. The first error counts; `close` waits for the rest. */
  async #each(wanted: readonly Wanted[], isTiny: boolean, work: (one: Wanted) => Promise<void>): Promise<void> {
    const next = wanted.values()
    const lanes = Array.from({ length: isTiny ? 1 : this.#context.jobs + 1 }, async () => {
      for (const one of next) await work(one)
    })
    this.#begun.push(...lanes)
    await Promise.all(lanes)
  }

  #progress(totalBytes: number): (one: Wanted, doneBytes: number) => void {
    const { onProgress } = this.#context
    const done = new Map<Wanted, number>()
    let doneBytes = 0
    onProgress?.({ kind: 'stage', stage: 'pieces', totalBytes })
    return (one, bytes) => {
      doneBytes += bytes - (done.get(one) ?? 0)
      done.set(one, bytes)
      onProgress?.({ kind: 'bytes', stage: 'pieces', doneBytes })
    }
  }

  #task({ path }: Wanted, { descriptor }: PartialPiece): BuildTask {
    const { overlay, caseHack = false, verify = true } = this.#input
    const node = overlay?.get(path.baseName)
    return {
      kind: 'build',
      settings: this.#settings,
      storePath: path.path,
      baseName: path.baseName,
      ...listedPlace(path.baseName, this.#input),
      node: node && plainTree(node),
      caseHack,
      nar: verify ? { hash: path.narHash, size: path.narSize } : undefined,
      descriptor,
      label: this.#files.label,
    }
  }

  async #run(task: BuildTask, isTiny: boolean, onProgress: (doneBytes: number) => void): Promise<Built> {
    const result = await (isTiny ? this.#here : this.#pool).run(task, { onProgress })
    if (result.kind !== 'built') throw new RangeError(`a build ended as ${result.kind}`)
    return result
  }
}
