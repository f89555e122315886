/**
 * Commands that write: one file or a stream, a folder of images, or a store in a folder. The checks of the output, the plan of a
 * dry run, the line that names the result, and the last lines for people are the same for all.
 */
import { type ImageProduct, isImageProduct, type Product } from '../images/product.ts'
import { type SaveProductOptions, saveProduct } from '../images/save.ts'
import { checkApart, checkHoldsNone } from '../io/apart.ts'
import { blockDevice, checkDevice } from '../io/block-device.ts'
import { destinationOf } from '../io/destination.ts'
import { checkFolderDestination, type SavedFile } from '../io/folder.ts'
import { checkSavable } from '../io/output.ts'
import { saveStore } from '../system/saved-store.ts'
import type { Context, FolderCommand, ImageCommand, Run, StoreCommand, StoreProduct } from './command.ts'
import { confirmDevice } from './confirm.ts'
import { streamToStdout } from './image-stdout.ts'
import { planTable } from './plan-table.ts'
import type { Given, Rows } from './row.ts'
import { say } from './stderr.ts'
import { printJson, printLines, printResult, STDOUT, stdoutIsTerminal } from './stdout.ts'
import { formatBytes, formatShare } from './units.ts'
import { usage } from './values.ts'

/** What every command that writes has been given. */
interface GivenOutput {
  readonly [key: string]: unknown
  readonly output: string
  readonly force: boolean
  readonly dryRun: boolean
  readonly json: boolean
  readonly quiet: boolean
  readonly jobs?: number
  readonly config?: string
  /** Of a network boot: a folder that is written as well. */
  readonly pieces?: string
  /** Of an ISO. */
  readonly compressImage?: boolean
  /** Of a store. */
  readonly verify?: boolean
  readonly caseHack?: boolean
  readonly wholeStore?: boolean
}

/** What is told of it. */
interface Written {
  /** Lines for standard output. */
  readonly results: readonly string[]
  /** Lines for people. */
  readonly files: readonly string[]
  /** Parts of the last line before the time, and behind it. */
  readonly summary: readonly string[]
  readonly remarks: readonly string[]
}

type Writer = ImageCommand | FolderCommand | StoreCommand

/** Resolves to the exit status. Throws USAGE, EXISTS and WRITE_FAILED before anything is read, and what the recipe and writing throw. */
export async function runWriter(command: Writer, all: Given<Rows>, run: Run): Promise<number> {
  // Every command that writes has these rows; tests hold it to that.
  const asked = all as GivenOutput
  const { signal, progress, sources } = run
  const context = { signal, onProgress: progress.listener, sources }
  if (asked.dryRun) {
    const plan = await planOf(command, asked, context)
    if (asked.json) await printJson(plan, 2, signal)
    else await printLines(planTable(plan), signal)
    return 0
  }
  const writes = command.writes === 'folder' && command.writesImage?.(all) ? 'image' : command.writes
  const given = await checkedOutput({ writes }, asked, signal)
  const { output, quiet } = given
  const { results, files, summary, remarks } = await write(command, given, context, run)
  progress.clear()
  await printResult(results, output, signal)
  if (!quiet) say(...files, `${output}: ${[...summary, `${run.seconds().toFixed(1)} s`, ...remarks].join(', ')}`)
  return 0
}

async function planOf(command: Writer, given: GivenOutput, context: Context): Promise<Readonly<Record<string, unknown>>> {
  if (command.writes === 'store') return { ...(await command.plan(given, context)) }
  const product = await command.make(given, context)
  await product.close()
  return { ...product.plan }
}

async function write(command: Writer, given: GivenOutput, context: Context, run: Run): Promise<Written> {
  switch (command.writes) {
    case 'image':
      return writeImage(await command.make(given, context), given, run)
    case 'folder': {
      const product = await command.make(given, context)
      return isImageProduct(product) ? writeImage(product, given, run) : writeFolder(command, product, given, run)
    }
    case 'store':
      return writeStore(await command.make(given, context), given, run)
  }
}

/** zstd's own default, which nixpkgs uses for `.iso.zst`. */
const IMAGE_ZSTD_LEVEL = 3

/**
 * The same, with what is known of the output: by what name standard output may be given, and whether somebody means a device. A folder is
 * looked at once it is known what may be replaced.
 */
async function checkedOutput({ writes }: Pick<Writer, 'writes'>, given: GivenOutput, signal: AbortSignal): Promise<GivenOutput> {
  const { output, force } = given
  if (writes === 'image' && output !== '-') {
    const destination = destinationOf(output)
    if (destination.kind === 'descriptor' && destination.descriptor === STDOUT)
      return checkedOutput({ writes }, { ...given, output: '-' }, signal)
    if (destination.kind !== 'blockDevice') checkSavable(output, force)
    else {
      const device = blockDevice(output)
      checkDevice(device)
      if (!force) await confirmDevice(device, signal)
      return { ...given, force: true }
    }
  }
  if (output !== '-') return given
  if (writes !== 'image')
    throw usage(`--output is -; a ${writes} cannot be streamed, name ${writes === 'folder' ? 'one' : 'a folder'} to write`)
  if (stdoutIsTerminal()) throw usage('the image is not written to a terminal; redirect standard output')
  return given
}

/** Throws what the image throws, USAGE where it would be written over one of its inputs. */
async function writeImage(product: ImageProduct, given: GivenOutput, run: Run): Promise<Written> {
  const { output, compressImage } = given
  const { image, source } = product
  const options = { ...savingOptions(given, run), ...(compressImage && { zstdLevel: IMAGE_ZSTD_LEVEL }) }
  try {
    if (output !== '-') checkApart(output, inputsOf(product, given))
    const [saved] = output === '-' ? [await streamToStdout(image, options)] : await saveProduct(product, output, options)
    return {
      results: output === '-' ? [] : [output],
      files: [],
      summary: [formatBytes(saved.size), ...(source.narBytes > 0 ? [formatShare(saved.size, source.narBytes, 'the closure')] : [])],
      remarks: [...(saved.sha256 === undefined ? [] : [`sha256 ${saved.sha256}`]), ...unverified(source)],
    }
  } finally {
    await product.close()
  }
}

function savingOptions({ force, quiet, jobs }: GivenOutput, { signal, progress }: Run): SaveProductOptions {
  return { signal, onProgress: progress.listener, force, ...(quiet && { digest: false }), ...(jobs !== undefined && { jobs }) }
}

/** Throws likewise, and where the folder holds an input, or what another has written. */
async function writeFolder(command: FolderCommand, product: Product, given: GivenOutput, run: Run): Promise<Written> {
  const { output, force, pieces } = given
  try {
    await checkFolderDestination(output, { force, replaceable: product.replaceable }, run.progress.listener)
    const inputs = inputsOf(product, given)
    for (const place of [inputs, pieces === undefined ? [] : [pieces]]) {
      checkApart(output, place)
      checkHoldsNone(output, place)
    }
    if (pieces !== undefined) checkApart(pieces, inputs)
    const saved = await saveProduct(product, output, savingOptions(given, run))
    return { results: [output], files: fileLines(saved), summary: [command.summary(product, saved)], remarks: unverified(product.source) }
  } finally {
    await product.close()
  }
}

/** Throws likewise. */
async function writeStore(product: StoreProduct, given: GivenOutput, { signal, progress }: Run): Promise<Written> {
  const { output, force, wholeStore, verify, caseHack } = given
  const { store, results } = product
  const inputs = inputsOf(store, given)
  checkApart(output, inputs)
  if (force) checkHoldsNone(output, inputs)
  const { written, narBytes } = await saveStore(store, output, {
    ...(verify !== undefined && { verify }),
    ...(caseHack !== undefined && { caseHack }),
    signal,
    onProgress: progress.listener,
    paths: wholeStore ? 'all' : 'made',
    force,
  })
  const summary = [product.summary(written, narBytes), `${store.closure.paths.length} in the closure`]
  return { results, files: [], summary, remarks: [] }
}

/** With the config file, which is an input as well. */
function inputsOf({ inputs }: { readonly inputs: readonly string[] }, { config }: GivenOutput): readonly string[] {
  return config === undefined ? inputs : [...inputs, config]
}

function unverified({ verified }: { readonly verified: boolean }): readonly string[] {
  return verified ? [] : ['NAR hashes not checked']
}

/** A line a file: name, size, digest. */
function fileLines(saved: readonly SavedFile[]): string[] {
  const width = Math.max(...saved.map(({ path }) => path.length))
  return saved.map(({ path, size, sha256 }) => {
    const digest = sha256 === undefined ? '' : `  sha256 ${sha256}`
    return `  ${path.padEnd(width)}  ${formatBytes(size).padStart(10)}${digest}`
  })
}
