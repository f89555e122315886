/**
 * Every error that Kilnix reports on purpose. A message says what went wrong, where, the limit that
 * was met, and the remedy; `code` is for programs.
 */
import { constants } from 'node:os'

export const ERROR_CODES = {
  /** An option or argument is malformed or does not fit with another. */
  USAGE: 'an option or argument is malformed, or does not fit with another',
  /** The closure listing, a record in it, or boot.json cannot be parsed or contradicts itself. */
  BAD_INPUT: 'an input file cannot be parsed or contradicts itself',
  /** A listed store path, a referenced path or an input file is missing. */
  NOT_FOUND: 'a listed store path, a reference or an input file is missing',
  /** A file cannot be opened or read. */
  UNREADABLE: 'a file cannot be opened or read',
  /** A file changed between being listed and being read. */
  CHANGED: 'a file changed while it was read',
  /** Content does not have the registered hash or size. */
  HASH_MISMATCH: 'content does not have the registered hash or size',
  /** Others may write to what would be believed, or nobody who is trusted has signed it. */
  UNTRUSTED: 'others may write to what would be believed, or nobody trusted has signed it',
  /** A server cannot be reached, refuses, or does not answer as it should. */
  FETCH_FAILED: 'a binary cache cannot be reached, refuses, or does not answer as it should',
  /** A value is larger than the format can hold. */
  LIMIT: 'a value is larger than the format can hold',
  /** The format or this writer has no such feature. */
  UNSUPPORTED: 'the format, or this writer, does not support what was asked for',
  /** The output exists and may not be replaced. */
  EXISTS: 'the output exists already',
  /** The output cannot be written: full disk, permission, broken pipe. */
  WRITE_FAILED: 'the output cannot be written',
  /** The address to serve on cannot be listened on: taken, forbidden, unknown. */
  LISTEN_FAILED: 'the address cannot be listened on',
  /** A worker thread died. */
  WORKER_DIED: 'a worker thread died',
  /** The caller or the user cancelled. */
  ABORTED: 'cancelled',
} as const

export type ErrorCode = keyof typeof ERROR_CODES

export interface ImageErrorOptions {
  /** Where: a path in the image or on the host, or a file and line. */
  readonly path?: string
  /** Of a LIMIT that a larger size mends: bytes that will do. */
  readonly neededBytes?: number
  readonly cause?: unknown
}

/** The name of an option of the library as somebody writes it: `--esp-size` for `espSize`. */
export type Spelling = (option: string) => string

/**
 * A message that speaks of options, each as its reader writes it. Names are not looked for in the text, where a path or a
 * label may hold the same word.
 */
export type Wording = (option: Spelling) => string

/** The one error class of the library. */
export class ImageError extends Error {
  readonly code: ErrorCode
  readonly path: string | undefined
  readonly neededBytes: number | undefined
  /** The library's options that the message speaks of, such as `espSize`. */
  readonly options: readonly string[]
  readonly #wording: Wording

  constructor(code: ErrorCode, message: string | Wording, options: ImageErrorOptions = {}) {
    const wording = typeof message === 'string' ? () => message : message
    const named = new Set<string>()
    const text = wording((name) => {
      named.add(name)
      return name
    })
    super(text, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'ImageError'
    this.code = code
    this.path = options.path
    this.neededBytes = options.neededBytes
    this.options = [...named]
    this.#wording = wording
  }

  /** The message with its options as its reader writes them. */
  messageWith(spelling: Spelling): string {
    return this.#wording(spelling)
  }
}

/** BAD_INPUT of what is read at `where`: a file, or a place in one. */
export function badInput(where: string, what: string | Wording): ImageError {
  const wording: Wording = (option) => `${where}: ${typeof what === 'string' ? what : what(option)}`
  return new ImageError('BAD_INPUT', wording, { path: where })
}

/** The `code` of a Node system error (`ENOENT`, `ENOSPC` ...), or undefined. */
export function systemErrorCode(error: unknown): string | undefined {
  if (!(error instanceof Error && 'code' in error && typeof error.code === 'string')) return undefined
  if (!/^(?:UNKNOWN$|Unknown system error)/.test(error.code)) return error.code
  return errorName('errno' in error ? Math.abs(Number(error.errno)) : Number.NaN) ?? error.code
}

/**
 * Numbers of the system's errors that neither libuv nor Node has a name for: of Linux from `asm-generic/errno.h` (and 512 and
 * more from `linux/errno.h`, which are to stay in the kernel but do not always), of the others from `sys/errno.h`.
 */
const FURTHER_ERRORS: Readonly<Record<string, string>> = {
  linux:
    '15 ENOTBLK 44 ECHRNG 45 EL2NSYNC 46 EL3HLT 47 EL3RST 48 ELNRNG 50 ENOCSI 51 EL2HLT 52 EBADE 53 EBADR 54 EXFULL 55 ENOANO ' +
    '56 EBADRQC 57 EBADSLT 59 EBFONT 65 ENOPKG 66 EREMOTE 68 EADV 69 ESRMNT 70 ECOMM 73 EDOTDOT 76 ENOTUNIQ 77 EBADFD 78 EREMCHG ' +
    '79 ELIBACC 80 ELIBBAD 81 ELIBSCN 82 ELIBMAX 83 ELIBEXEC 85 ERESTART 86 ESTRPIPE 87 EUSERS 96 EPFNOSUPPORT 109 ETOOMANYREFS ' +
    '117 EUCLEAN 118 ENOTNAM 119 ENAVAIL 120 EISNAM 123 ENOMEDIUM 124 EMEDIUMTYPE 126 ENOKEY 127 EKEYEXPIRED 128 EKEYREVOKED ' +
    '129 EKEYREJECTED 130 EOWNERDEAD 131 ENOTRECOVERABLE 132 ERFKILL 133 EHWPOISON 512 ERESTARTSYS 514 ERESTARTNOHAND ' +
    '521 EBADHANDLE 523 EBADCOOKIE 524 ENOTSUPP 526 ESERVERFAULT 528 EJUKEBOX',
  darwin:
    '15 ENOTBLK 46 EPFNOSUPPORT 59 ETOOMANYREFS 67 EPROCLIM 68 EUSERS 71 EREMOTE 72 EBADRPC 73 ERPCMISMATCH 74 EPROGUNAVAIL ' +
    '75 EPROGMISMATCH 76 EPROCUNAVAIL 80 EAUTH 81 ENEEDAUTH 82 EPWROFF 83 EDEVERR 85 EBADEXEC 86 EBADARCH 87 ESHLIBVERS ' +
    '88 EBADMACHO 93 ENOATTR 103 ENOPOLICY 104 ENOTRECOVERABLE 105 EOWNERDEAD 106 EQFULL',
  freebsd:
    '15 ENOTBLK 46 EPFNOSUPPORT 59 ETOOMANYREFS 67 EPROCLIM 68 EUSERS 71 EREMOTE 72 EBADRPC 73 ERPCMISMATCH 74 EPROGUNAVAIL ' +
    '75 EPROGMISMATCH 76 EPROCUNAVAIL 80 EAUTH 81 ENEEDAUTH 87 ENOATTR 88 EDOOFUS 93 ENOTCAPABLE 94 ECAPMODE ' +
    '95 ENOTRECOVERABLE 96 EOWNERDEAD 97 EINTEGRITY',
}

/** The name of an error number of this platform, of which libuv knows some only. */
function errorName(number: number): string | undefined {
  const [known] = Object.entries(constants.errno).find(([, value]) => value === number) ?? []
  return known ?? new RegExp(`(?:^| )${number} (\\w+)`).exec(FURTHER_ERRORS[process.platform] ?? '')?.[1]
}

/** Throws ABORTED when `signal` has come; `message` says what was cancelled. */
export function throwIfAborted(signal: AbortSignal | undefined, message = 'cancelled'): void {
  if (signal?.aborted) throw new ImageError('ABORTED', message, { cause: signal.reason })
}
