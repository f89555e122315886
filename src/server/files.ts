/** The files that are served: a fixed table, and nothing else can be reached. */
import { createHash } from 'node:crypto'
import { utf8 } from '../bytes/text.ts'
import { ImageError } from '../errors.ts'
import { bytesImage, type Image } from '../io/image.ts'

export interface ServedFile {
  /** As in a request: a slash, then names of letters, digits and `-._~!$&'()*+,;=:@` between slashes, such as `/initrd`. */
  readonly path: string
  readonly image: Image
  /** Without quotes. The same tag says that every byte is the same. */
  readonly etag: string
  /** Such as `application/octet-stream`. */
  readonly contentType: string
}

export type FileTable = ReadonlyMap<string, ServedFile>

/** The characters of a path segment (RFC 3986, 3.3), but for those that have to be percent-encoded. */
const PATH = /^(?:\/[A-Za-z0-9._~!$&'()*+,;=:@-]+)+$/
/** RFC 9110, 8.8.3. */
const ETAG = /^[\x21\x23-\x7e]+$/
/** RFC 9110, 8.3.1, roughly: what cannot break out of a field. */
const CONTENT_TYPE = /^[\x21-\x7e][\x20-\x7e]*$/

/** Throws USAGE for what cannot be served. `/` is a list of all files. */
export function fileTable(files: readonly ServedFile[]): FileTable {
  const table = new Map<string, ServedFile>()
  for (const file of files) {
    const { path, etag, contentType } = file
    if (!PATH.test(path) || path.split('/').some((name) => name === '.' || name === '..')) {
      throw new ImageError('USAGE', `cannot serve '${path}': give a path such as /initrd, of characters that need no encoding`, { path })
    }
    if (table.has(path)) throw new ImageError('USAGE', `cannot serve '${path}' twice`, { path })
    if (!ETAG.test(etag))
      throw new ImageError('USAGE', `${path}: '${etag}' is no entity tag; give ASCII without blanks and quotes`, { path })
    if (!CONTENT_TYPE.test(contentType)) throw new ImageError('USAGE', `${path}: '${contentType}' is no content type`, { path })
    table.set(path, file)
  }
  table.set('/', listOf(files))
  return table
}

/** Sizes in bytes, then paths. */
function listOf(files: readonly ServedFile[]): ServedFile {
  const width = Math.max(0, ...files.map(({ image }) => String(image.size).length))
  const text = utf8(files.map(({ path, image }) => `${String(image.size).padStart(width)} ${path}\n`).join(''))
  return {
    path: '/',
    image: bytesImage(text),
    etag: createHash('sha256').update(text).digest('hex'),
    contentType: 'text/plain; charset=utf-8',
  }
}
