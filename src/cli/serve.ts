/** Running `kilnix serve`: the files of a network boot over HTTP, from where their bytes are. */
import { existsSync, readFileSync } from 'node:fs'
import { systemErrorCode } from '../errors.ts'
import { PROGRAM_NAME, SCRIPT_NAME } from '../images/netboot/folder.ts'
import { type Netboot, netboot } from '../images/netboot/index.ts'
import { checkApart } from '../io/apart.ts'
import { imageSha256 } from '../io/digest.ts'
import { openSpool, type Spool } from '../io/file-target.ts'
import type { FolderFile } from '../io/folder.ts'
import { type BuildContext, type Image, isGrowing } from '../io/image.ts'
import { buildContext } from '../io/output.ts'
import { checkAddress, SERVE_DEFAULTS, type ServedFile, type ServerEvent, serveFiles } from '../server/index.ts'
import type { Run } from './command.ts'
import { storeInput } from './input.ts'
import { type NETBOOT_ROWS, piecesText } from './netboot-rows.ts'
import type { Given } from './row.ts'
import { say } from './stderr.ts'
import { printResult } from './stdout.ts'
import { formatBytes } from './units.ts'
import { splitAddress } from './values.ts'

/** Characters of a request's target that a line shows. */
const TARGET_LENGTH = 200

type GivenServer = Given<typeof NETBOOT_ROWS> & {
  readonly listen: string
  readonly names?: readonly string[]
  readonly quiet: boolean
  readonly config?: string
}

/** Serves until a signal comes; then the status is 0. Throws what the build throws, and LISTEN_FAILED. */
export async function serve(given: GivenServer, { signal, progress, sources }: Run): Promise<number> {
  const { names = [], pieces, config, jobs, quiet } = given
  const spools: Spool[] = []
  const address = splitAddress(given.listen)
  await checkAddress(address.host, address.port)
  const product = await netboot({ ...given, ...storeInput(given, { signal, onProgress: progress.listener, sources }) })
  try {
    if (pieces !== undefined) checkApart(pieces, config === undefined ? product.inputs : [...product.inputs, config])
    const context = buildContext({ signal, onProgress: progress.listener, ...(jobs !== undefined && { jobs }) })
    const files = await product.files(context)
    const built: ServedFile[] = []
    for (const file of files) built.push(await servedFile(file, built, spools, context))
    // What is asked for first.
    const first = built.filter(({ path }) => [`/${SCRIPT_NAME}`, `/${PROGRAM_NAME}`].includes(path))
    const served = [...first, ...built.filter((file) => !first.includes(file))]
    progress.clear()
    const log = quiet ? () => undefined : requestLog()
    const stop = new AbortController()
    const ending = AbortSignal.any([signal, stop.signal])
    const server = await serveFiles(served, {
      ...address,
      names,
      ...connectionLimit(),
      signal: ending,
      onEvent: log,
    })
    try {
      await printAddresses(
        first.map(({ path }) => `${server.url}${path}`),
        signal,
      )
      if (!quiet) say(`${summary(product, served)}${piecesText(product.pieces())}; ctrl-c ends the server`)
      await server.closed
    } finally {
      // Also where nobody could be told the address.
      stop.abort()
      await server.closed
    }
    return 0
  } finally {
    await product.close()
    for (const spool of spools) await spool.close()
  }
}

/** Fewer connections than by default where the system has no descriptors for them; only Linux tells. */
function connectionLimit(): { readonly maximumConnections?: number } {
  const limits = existsSync(PROCESS_LIMITS) ? readFileSync(PROCESS_LIMITS, 'latin1') : ''
  const descriptors = Number(/^Max open files +(\d+)/m.exec(limits)?.[1] ?? Number.POSITIVE_INFINITY)
  // Two each, the connection and a file, and some for all else.
  const maximum = Math.max(1, Math.floor((descriptors - OTHER_DESCRIPTORS) / 2))
  return maximum < SERVE_DEFAULTS.maximumConnections ? { maximumConnections: maximum } : {}
}

const PROCESS_LIMITS = '/proc/self/limits'
const OTHER_DESCRIPTORS = 64

/** A reader who has left may know the address, as others may; one who could not be told it is an error. */
async function printAddresses(urls: readonly string[], signal: AbortSignal): Promise<void> {
  try {
    await printResult(urls, undefined, signal)
  } catch (error) {
    if (systemErrorCode(error) !== 'EPIPE') throw error
  }
}

/** By which firmware knows a program (UEFI 2.10, 24.7.6; IANA). */
const CONTENT_TYPES = [
  ['.ipxe', 'text/plain; charset=utf-8'],
  ['.efi', 'application/efi'],
] as const

/** A file that has to be packed first lies in a scratch file without a name. */
async function servedFile(
  { path, content }: FolderFile,
  earlier: readonly ServedFile[],
  spools: Spool[],
  context: BuildContext,
): Promise<ServedFile> {
  if (content.kind === 'sameAs') throw new RangeError(`${path}: is another name of a file, and is not served`)
  const known = new Map(earlier.map((file) => [file.path.slice(1), file.image]))
  const image = content.kind === 'image' ? content.image : content.make(known)
  const finished = isGrowing(image) ? await spooled(image, spools, context) : image
  const [, contentType = 'application/octet-stream'] = CONTENT_TYPES.find(([ending]) => path.endsWith(ending)) ?? []
  return { path: `/${path}`, image: finished, etag: await imageSha256(finished, context.signal), contentType }
}

async function spooled(image: Parameters<typeof isGrowing>[0], spools: Spool[], context: BuildContext): Promise<Image> {
  if (!isGrowing(image)) return image
  const spool = await openSpool()
  spools.push(spool)
  return image.pack(spool.target, 0, context)
}

function summary({ plan }: Netboot, served: readonly ServedFile[]): string {
  const sizes = served.map(({ path, image }) => `${path} ${formatBytes(image.size)}`).join(', ')
  return `${plan.label}: ${sizes}, ${plan.pathCount} store paths`
}

/** A line for each request that is over. */
function requestLog(): (event: ServerEvent) => void {
  const begun = new Map<object, number>()
  return (event) => {
    switch (event.kind) {
      case 'start':
        begun.set(event.request, performance.now())
        return
      case 'finish':
      case 'drop': {
        const { request, status, bytes } = event
        const seconds = (performance.now() - (begun.get(request) ?? performance.now())) / 1000
        begun.delete(request)
        const end = event.kind === 'drop' ? `, ended early: ${event.reason}` : status === 421 ? misdirected(request.host) : ''
        say(
          `${request.client} ${request.method} ${shortened(request.target)} ${status} ${formatBytes(bytes)} ${seconds.toFixed(1)} s${end}`,
        )
        return
      }
      case 'readError':
        say(`${shortened(event.request.target)} cannot be read: ${messageOf(event.error)}`)
        return
      case 'refuse':
        say(`${event.client} refused (${event.status ?? 'no answer'}): ${event.reason}`)
        return
      case 'acceptError':
        say(`a connection cannot be accepted: ${messageOf(event.error)}`)
        return
    }
  }
}

/** RFC 9110, 15.5.20. */
function misdirected(host = ''): string {
  return `, asked for the name ${shortened(host)}: --host allows it`
}

/** A client may ask for what it likes, up to 16 KiB of it. */
function shortened(target: string): string {
  return target.length > TARGET_LENGTH ? `${target.slice(0, TARGET_LENGTH)}...` : target
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
