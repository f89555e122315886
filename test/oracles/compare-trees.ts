/**
 * Compares two folders object by object: names as bytes, kinds, modes, link targets and every byte of every file. The judge of
 * what an image reader has unpacked, or of what the kernel shows in a mounted image.
 */
import { closeSync, lstatSync, openSync, readdirSync, readlinkSync, readSync, type Stats } from 'node:fs'

const CHUNK = 1 << 20
const SLASH = Buffer.from('/')

export interface CompareOptions {
  /** Names at the top of either side that are left out. */
  readonly ignore?: readonly string[]
  /** The unpacked objects must belong to root, as all objects of an image do. Off where the reader does not set owners. */
  readonly owners?: boolean
  /** The unpacked files must be single: a store image has no hard links. */
  readonly singleLinks?: boolean
  /** Permission bits must be equal; off where the reader does not set them. */
  readonly modes?: boolean
}

/** How `actual` differs from `expected`, one sentence a difference; empty when they are equal. */
export function compareTrees(expected: string, actual: string, options: CompareOptions = {}): string[] {
  const settings = { ignore: [], owners: true, singleLinks: true, modes: true, ...options }
  const comparison = new Comparison(settings)
  comparison.directories(Buffer.from(expected), Buffer.from(actual), Buffer.alloc(0), new Set(settings.ignore))
  return comparison.differences
}

class Comparison {
  readonly differences: string[] = []
  private readonly options: Required<CompareOptions>
  private readonly left = Buffer.allocUnsafe(CHUNK)
  private readonly right = Buffer.allocUnsafe(CHUNK)

  constructor(options: Required<CompareOptions>) {
    this.options = options
  }

  directories(expected: Buffer, actual: Buffer, path: Buffer, ignore: ReadonlySet<string> = new Set()): void {
    const wanted = namesIn(expected, ignore)
    const found = namesIn(actual, ignore)
    for (const [key, name] of wanted) {
      const inside = join(path, name)
      if (found.has(key)) this.objects(join(expected, name), join(actual, name), inside)
      else this.differ(inside, 'is missing')
    }
    for (const [key, name] of found) if (!wanted.has(key)) this.differ(join(path, name), 'should not be there')
  }

  private objects(expected: Buffer, actual: Buffer, path: Buffer): void {
    const want = lstatSync(expected)
    const have = lstatSync(actual)
    const kind = kindOf(want)
    if (kindOf(have) !== kind) {
      this.differ(path, `is a ${kindOf(have)} and should be a ${kind}`)
      return
    }
    this.attributes(want, have, path)
    if (kind === 'directory') this.directories(expected, actual, path)
    else if (kind === 'symlink') this.targets(expected, actual, path)
    else if (kind === 'file') this.contents(expected, want, actual, have, path)
  }

  private attributes(want: Stats, have: Stats, path: Buffer): void {
    const mode = (stats: Stats): string => (stats.mode & 0o7777).toString(8)
    // The mode of a symbolic link means nothing.
    if (this.options.modes && !want.isSymbolicLink() && mode(want) !== mode(have))
      this.differ(path, `has mode ${mode(have)} and should have ${mode(want)}`)
    if (this.options.owners && (have.uid !== 0 || have.gid !== 0)) this.differ(path, `belongs to ${have.uid}:${have.gid}`)
    if (this.options.singleLinks && have.isFile() && have.nlink !== 1) this.differ(path, `has ${have.nlink} hard links`)
  }

  private targets(expected: Buffer, actual: Buffer, path: Buffer): void {
    const want = readlinkSync(expected, { encoding: 'buffer' })
    const have = readlinkSync(actual, { encoding: 'buffer' })
    if (!want.equals(have)) this.differ(path, `leads to ${printable(have)} and should lead to ${printable(want)}`)
  }

  private contents(expected: Buffer, want: Stats, actual: Buffer, have: Stats, path: Buffer): void {
    if (want.size !== have.size) {
      this.differ(path, `has ${have.size} bytes and should have ${want.size}`)
      return
    }
    const wantFile = openSync(expected, 'r')
    const haveFile = openSync(actual, 'r')
    try {
      for (let offset = 0; offset < want.size; offset += CHUNK) {
        const length = Math.min(CHUNK, want.size - offset)
        if (readSync(wantFile, this.left, 0, length, offset) !== length) throw new Error(`${printable(path)}: shrank while it was compared`)
        const read = readSync(haveFile, this.right, 0, length, offset)
        const equal = read === length && this.left.subarray(0, length).equals(this.right.subarray(0, length))
        if (!equal) {
          this.differ(path, `has other content in bytes ${offset} to ${offset + length}`)
          return
        }
      }
    } catch (error) {
      // A damaged image makes the kernel or the reader fail here.
      if ((error as NodeJS.ErrnoException).code !== 'EIO') throw error
      this.differ(path, 'cannot be read')
    } finally {
      closeSync(wantFile)
      closeSync(haveFile)
    }
  }

  private differ(path: Buffer, what: string): void {
    this.differences.push(`${printable(path)} ${what}`)
  }
}

/** By a text that is the same for the same bytes only. */
function namesIn(folder: Buffer, ignore: ReadonlySet<string>): Map<string, Buffer> {
  const names = readdirSync(folder, { encoding: 'buffer' }).map((name) => [name.toString('latin1'), name] as const)
  return new Map(names.filter(([key]) => !ignore.has(key)))
}

function kindOf(stats: Stats): 'file' | 'directory' | 'symlink' | 'special file' {
  if (stats.isFile()) return 'file'
  if (stats.isDirectory()) return 'directory'
  return stats.isSymbolicLink() ? 'symlink' : 'special file'
}

function join(folder: Buffer, name: Buffer): Buffer {
  return folder.length === 0 ? name : Buffer.concat([folder, SLASH, name])
}

/** Bytes for a message: ASCII as it is, anything else escaped. */
function printable(bytes: Buffer): string {
  const text = bytes.toString('latin1').replace(/[^ -~]/g, (character) => `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`)
  return text.length > 300 ? `${text.slice(0, 300)}...` : text
}
