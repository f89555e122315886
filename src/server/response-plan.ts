/** From a request to what is answered (RFC 9110, RFC 9112). Pure: no byte of a file is read here. */
import { STATUS_CODES } from 'node:http'
import { utf8 } from '../bytes/text.ts'
import { bytesImage, type Image } from '../io/image.ts'
import { imageSlice } from '../io/slice.ts'
import { type ConditionFields, chooseRange, matchHolds, noneMatchHolds, rangeHolds } from './conditions.ts'
import type { FileTable, ServedFile } from './files.ts'
import { type AskedHost, type HostNames, hostProblem } from './hosts.ts'

export interface RequestHead extends AskedHost {
  readonly method: string
  readonly fields: ConditionFields
}

/** What is served, and under which names. */
export interface Site {
  readonly table: FileTable
  readonly names: HostNames
}

export interface ResponsePlan {
  readonly status: number
  readonly fields: Readonly<Record<string, string>>
  /** What a GET is answered with; undefined where the status has no content. HEAD is told its size only. */
  readonly content: Image | undefined
}

/** RFC 9112, 3 asks for at least 8000. */
const MAXIMUM_TARGET_LENGTH = 8000

/** Those of RFC 9112. Node's parser takes HTTP/0.9 and HTTP/2.0 for what they are not. */
const VERSIONS: readonly string[] = ['1.0', '1.1']

/** Seconds after which a client that was sent away may come again. iPXE does by itself. */
const RETRY_SECONDS = 5

/** The answer to `request`. The order of conditions is that of RFC 9110, 13.2.2. */
export function planResponse({ table, names }: Site, request: RequestHead): ResponsePlan {
  const { method, target, version, fields } = request
  if (!VERSIONS.includes(version)) return textPlan(505)
  const problem = hostProblem(names, request)
  if (problem !== undefined) return textPlan(problem.status, problem.why)
  if (target.length > MAXIMUM_TARGET_LENGTH) return textPlan(414)
  if (method !== 'GET' && method !== 'HEAD') return textPlan(405)
  const file = table.get(pathOf(target))
  if (file === undefined) return textPlan(404)
  if (!matchHolds(fields['if-match'], file.etag)) return textPlan(412)
  if (!noneMatchHolds(fields['if-none-match'], file.etag)) return { status: 304, fields: fileFields(file), content: undefined }
  // RFC 9110, 14.2: ranges are defined for GET only.
  const isRanged = method === 'GET' && rangeHolds(fields['if-range'], file.etag)
  return rangePlan(file, isRanged ? fields.range : undefined)
}

/** A status and its name as text, with a line that says why, and with what goes with the status. */
export function textPlan(status: number, why?: string): ResponsePlan {
  const extra: Readonly<Record<number, Readonly<Record<string, string>>>> = {
    405: { Allow: 'GET, HEAD' },
    503: { 'Retry-After': String(RETRY_SECONDS) },
  }
  const line = why === undefined ? '' : `${why}\n`
  return contentPlan(status, bytesImage(utf8(`${status} ${STATUS_CODES[status] ?? ''}\n${line}`)), {
    'Content-Type': 'text/plain; charset=utf-8',
    'Cache-Control': 'no-cache',
    ...extra[status],
  })
}

function rangePlan(file: ServedFile, range: string | undefined): ResponsePlan {
  const { image } = file
  const choice = chooseRange(range, image.size)
  switch (choice.kind) {
    case 'whole':
      return contentPlan(200, image, fileFields(file))
    case 'part':
      return contentPlan(206, imageSlice(image, choice.start, choice.end), {
        ...fileFields(file),
        'Content-Range': `bytes ${choice.start}-${choice.end - 1}/${image.size}`,
      })
    case 'unsatisfiable': {
      const plan = textPlan(416)
      return { ...plan, fields: { ...plan.fields, 'Content-Range': `bytes */${image.size}` } }
    }
  }
}

function contentPlan(status: number, content: Image, fields: Readonly<Record<string, string>>): ResponsePlan {
  return { status, content, fields: { ...fields, 'Content-Length': String(content.size) } }
}

function fileFields({ etag, contentType }: ServedFile): Record<string, string> {
  return { 'Content-Type': contentType, ETag: `"${etag}"`, 'Accept-Ranges': 'bytes', 'Cache-Control': 'no-cache' }
}

/**
 * The path of a request target (RFC 9112, 3.2) in origin or absolute form, without the query, as the table spells it: firmware
 * asks for `//initrd`, where a folder ends with a slash and a name begins with one. Characters that need no encoding are
 * decoded (RFC 3986, 6.2.2.2), and `/./` and doubled slashes are one slash; `..` leads nowhere.
 */
function pathOf(target: string): string {
  const [path = ''] = target.replace(/^https?:\/\/[^/?#]*/i, '').split('?', 1)
  const decoded = path.replace(/%([0-9a-f]{2})/gi, (encoded, hex: string) => {
    const character = String.fromCharCode(Number.parseInt(hex, 16))
    return /[A-Za-z0-9._~-]/.test(character) ? character : encoded
  })
  return path === '' ? '/' : decoded.replace(/(?:\/\.?)+(?=\/)/g, '')
}
