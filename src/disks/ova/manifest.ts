/** The manifest of an appliance: a line a file, with its digest (DMTF DSP0243 1.1, section 5.1). */
import { createHash } from 'node:crypto'
import { quote } from '../../bytes/text.ts'
import { ImageError, throwIfAborted } from '../../errors.ts'
import type { RandomAccessSource } from '../../io/source.ts'
import type { Member } from './archive.ts'

const MANIFEST_LIMIT = 1 << 20
const CHUNK_SIZE = 1 << 20

const ALGORITHMS: Readonly<Record<string, string>> = { SHA1: 'sha1', SHA256: 'sha256', SHA512: 'sha512' }

/**
 * Compare the files with what the manifest says of them, if there is one. Throws BAD_INPUT for a file that is missing or has
 * another digest, UNSUPPORTED for another kind of digest, and ABORTED.
 */
export async function checkManifest(source: RandomAccessSource, files: readonly Member[], signal?: AbortSignal): Promise<void> {
  const manifest = files.find(({ name }) => /\.mf$/i.test(name))
  if (manifest === undefined) return
  const { name, start, size } = manifest
  if (size > MANIFEST_LIMIT) throw new ImageError('LIMIT', `ova: the manifest ${name} has ${size} bytes; ${MANIFEST_LIMIT} are read`)
  const lines = Buffer.from(await source.read(start, size))
    .toString('utf8')
    .split(/\r?\n/)
  for (const line of lines) {
    if (line.trim() === '') continue
    const [, algorithm = '', listed = '', digest = ''] = /^([A-Za-z0-9-]+) ?\((.*)\) ?= ?([0-9A-Fa-f]+) *$/.exec(line) ?? []
    if (digest === '') throw new ImageError('BAD_INPUT', `ova: the manifest ${name} has a line that is none: ${quote(line.slice(0, 80))}`)
    const known = ALGORITHMS[algorithm.toUpperCase().replace('-', '')]
    if (known === undefined) {
      throw new ImageError(
        'UNSUPPORTED',
        `ova: the manifest ${name} has a digest by ${algorithm}; known are ${Object.keys(ALGORITHMS).join(', ')}`,
      )
    }
    const file = files.find((one) => one.name === listed)
    if (file === undefined)
      throw new ImageError('BAD_INPUT', `ova: ${listed} is in the manifest and not in the archive; it was cut short or changed`)
    const actual = await digestOf(source, file, known, signal)
    if (actual !== digest.toLowerCase()) {
      throw new ImageError(
        'BAD_INPUT',
        `ova: ${listed} has the ${algorithm} ${actual}, its manifest says ${digest}; the archive is damaged or was changed, export it again`,
      )
    }
  }
}

async function digestOf(
  source: RandomAccessSource,
  { start, size }: Member,
  algorithm: string,
  signal: AbortSignal | undefined,
): Promise<string> {
  const hash = createHash(algorithm)
  for (let done = 0; done < size; done += CHUNK_SIZE) {
    throwIfAborted(signal)
    hash.update(await source.read(start + done, Math.min(CHUNK_SIZE, size - done)))
  }
  return hash.digest('hex')
}
