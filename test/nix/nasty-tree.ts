/** A folder of everything a store path can hold that trips writers up. Built with system calls on bytes. */
import { chmodSync, linkSync, mkdirSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'

/** Names that are no UTF-8, do not sort as UTF-16 does, or mean something to a shell. */
const NAMES: readonly Buffer[] = [
  ...[
    'a b',
    '-rf',
    '~',
    "it's",
    'quo"te',
    'back\\slash',
    'new\nline',
    'tab\t',
    '\x1b[31m',
    '\x7f',
    ';1',
    'trailing.',
    'trailing ',
    'CON',
  ].map((name) => Buffer.from(name)),
  ...['é', 'e\u0301', '語', '\ue000', '\u{1f600}', '\u202eabc', '\u200b'].map((name) => Buffer.from(name)),
  Buffer.from([0xff, 0xfe]),
  Buffer.from([0x80]),
  Buffer.from([0xc0, 0xaf]),
  Buffer.from([0xed, 0xa0, 0x80]),
  Buffer.alloc(255, 0x6e),
  Buffer.alloc(255, 0xe9),
]

const SIZES = [0, 1, 7, 8, 9, 127, 4095, 4096, 4097, 65535, 65536, 65537, 1048575, 1048576, 1048577]

/** Make the folder; `path` does not exist yet. */
export function makeNastyTree(path: string): void {
  const at = (...parts: (string | Buffer)[]): Buffer =>
    Buffer.concat([path, ...parts].flatMap((part) => [Buffer.from(part), Buffer.from('/')]).slice(0, -1))
  mkdirSync(path)
  for (const folder of ['names', 'sizes', 'modes', 'links', 'empty', 'case']) mkdirSync(at(folder))
  for (const name of NAMES) {
    writeFileSync(at('names', name), name)
    mkdirSync(at('empty', name))
    symlinkSync(name, at('links', name))
  }
  for (const size of SIZES) writeFileSync(at('sizes', String(size)), Buffer.alloc(size, `content of ${size} bytes `))
  writeFileSync(at('sizes', 'hole'), '')
  truncateSync(at('sizes', 'hole'), 3_000_001)
  for (const mode of [0o400, 0o444, 0o644, 0o001, 0o011, 0o100, 0o111, 0o555, 0o700, 0o755, 0o4755, 0o1644]) {
    writeFileSync(at('modes', mode.toString(8)), String(mode))
    chmodSync(at('modes', mode.toString(8)), mode)
  }
  for (const target of ['.', '..', 'nowhere', '/', '/etc/passwd', 'trailing/', 'x'.repeat(4095)])
    symlinkSync(target, at('links', `to-${target.length}-${target.charCodeAt(0)}`))
  symlinkSync(Buffer.from([0xff, 0x2f, 0xfe]), at('links', 'bytes'))
  linkSync(at('sizes', '4096'), at('sizes', '4096-again'))
  for (const name of ['README', 'ReadMe', 'readme', 'README~nix~case~hack~1', 'a', 'a-', 'a.', 'a0', 'A', 'ab']) mkdirSync(at('case', name))
  let deep = path
  for (let level = 1; level < 62; level++) {
    deep += '/d'
    mkdirSync(deep)
  }
  writeFileSync(`${deep}/file`, 'at level 63')
}
