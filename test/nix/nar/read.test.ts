/** Every rule of the format, by NARs made by hand; read as a stream and as a file, with the same result. */
import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { bytesSource } from '../../../src/io/source.ts'
import { hashNarStream, type NarEvent, readNar } from '../../../src/nix/nar/read.ts'
import { readNarFile } from '../../../src/nix/nar/tree.ts'
import { failure } from '../scratch.ts'
import { chunksOf, entry, fileNode, folderNode, HEAD, linkNode, nar, nested, word, words } from './words.ts'

async function eventsOf(events: AsyncIterable<NarEvent>): Promise<string[]> {
  const out: string[] = []
  for await (const event of events) {
    if (event.kind === 'chunk') {
      const before = out.at(-1)
      if (before?.startsWith('chunk ')) out[out.length - 1] = before + Buffer.from(event.bytes).toString('latin1')
      else out.push(`chunk ${Buffer.from(event.bytes).toString('latin1')}`)
    } else if (event.kind === 'end') out.push('end')
    else {
      const name = Buffer.from(event.name).toString('latin1')
      if (event.kind === 'file') out.push(`file ${name} ${event.size} at ${event.contentOffset}${event.isExecutable ? ' executable' : ''}`)
      else out.push(event.kind === 'symlink' ? `symlink ${name} ${Buffer.from(event.target).toString('latin1')}` : `directory ${name}`)
    }
  }
  return out
}

const ALL_KINDS = nar(
  folderNode(
    entry('a', fileNode('hello')),
    entry('b', folderNode(entry('\xff', fileNode('', true)), entry('\xff\x01', linkNode('\xfe/..')))),
    entry('c', fileNode('12345678', true)),
  ),
)

describe('events', () => {
  it('are those of the tree, in its order, whatever the chunks are', async () => {
    const emptyAt = ALL_KINDS.indexOf(word('contents'), ALL_KINDS.indexOf(word('executable'))) + 24
    const expected = [
      'directory ',
      `file a 5 at ${ALL_KINDS.indexOf('hello')}`,
      'chunk hello',
      'directory b',
      `file \xff 0 at ${emptyAt} executable`,
      'symlink \xff\x01 \xfe/..',
      'end',
      `file c 8 at ${ALL_KINDS.indexOf('12345678')} executable`,
      'chunk 12345678',
      'end',
    ]
    for (let size = 1; size < 50; size++) expect(await eventsOf(readNar(chunksOf(ALL_KINDS, size)))).toEqual(expected)
    expect(await eventsOf(readNarFile(bytesSource(ALL_KINDS)))).toEqual(expected.filter((line) => !line.startsWith('chunk')))
  })

  it.each([
    ['a file', fileNode('x'), ['file  1 at 96', 'chunk x']],
    ['an executable file', fileNode('', true), ['file  0 at 128 executable']],
    ['a link', linkNode('to'), ['symlink  to']],
    ['an empty folder', folderNode(), ['directory ', 'end']],
  ])('%s as the root', async (_what, node, expected) => {
    expect(await eventsOf(readNar(chunksOf(nar(node))))).toEqual(expected)
  })

  it('a stream that is not read to its end is closed', async () => {
    let isClosed = false
    async function* input(): AsyncGenerator<Uint8Array> {
      try {
        yield ALL_KINDS
        yield ALL_KINDS
      } finally {
        isClosed = true
      }
    }
    for await (const event of readNar(input())) if (event.kind === 'file') break
    expect(isClosed).toBe(true)
  })

  it('ends when the signal comes', async () => {
    const signal = AbortSignal.abort()
    await failure(() => eventsOf(readNar(chunksOf(ALL_KINDS), { signal })), 'ABORTED', /cancelled/)
    await failure(() => eventsOf(readNarFile(bytesSource(ALL_KINDS), { signal })), 'ABORTED', /cancelled/)
  })
})

describe('the hash', () => {
  it('is that of the bytes', async () => {
    const { hash, size } = await hashNarStream(chunksOf(ALL_KINDS, 7))
    expect(Buffer.from(hash).toString('hex')).toBe(createHash('sha256').update(ALL_KINDS).digest('hex'))
    expect(size).toBe(ALL_KINDS.length)
  })
})

describe('limits', () => {
  it.each([
    ['64 levels', nar(nested(64))],
    ['a name of 255 bytes', nar(folderNode(entry('n'.repeat(255), fileNode(''))))],
    ['a target of 4095 bytes', nar(linkNode('t'.repeat(4095)))],
    [
      'names in the order of bytes',
      nar(folderNode(...['\x01', 'A', 'a', 'a-', 'a.', 'aa', 'é'].map((name) => entry(name, linkNode('x'))))),
    ],
    ['three dots', nar(folderNode(entry('...', linkNode('x'))))],
  ])('%s are taken', async (_what, bytes) => {
    await eventsOf(readNar(chunksOf(bytes, 1000)))
    await eventsOf(readNarFile(bytesSource(bytes)))
  })
})

const long = (text: string, length: bigint): Buffer => word(text, length)
const hostile: readonly [what: string, bytes: Buffer, message: RegExp][] = [
  ['nothing', Buffer.alloc(0), /^x\.nar: no valid NAR: at byte 0, in \/: it ends here, too early/],
  ['another magic', words('nix-archive-2 ( type directory )'), /at byte 0, in \/: .*'nix-archive-1'/],
  ['a word that is not padded with zeros', Buffer.from(HEAD.toString('latin1').replace('1\0', '1\x01'), 'latin1'), /at byte 0/],
  ['no parenthesis', nar(words('type directory )')), /at byte 24, in \/: something else stands where '\(' 'type' should be/],
  ['contents before the type', nar(words('( contents x type regular )')), /at byte 40, in \/: .*'type'/],
  ['an unknown type', nar(words('( type device )')), /at byte 56, in \/: 'device' stands where 'regular', 'symlink' or 'directory'/],
  ['an empty type', nar(words("( type '' )")), /at byte 56, in \/: '' stands where/],
  ['a type that is a long text', nar(Buffer.concat([words('( type'), word('d'.repeat(17))])), /at byte 56, in \/: a string of 17 bytes/],
  ['a file without contents', nar(words('( type regular )')), /'\)' stands where 'executable' or 'contents' should be/],
  ['contents twice', nar(words('( type regular contents a contents b )')), /something else stands where '\)' should be/],
  ['executable that says something', nar(words('( type regular executable yes contents a )')), /stands where '' should be/],
  ['executable twice', nar(words("( type regular executable '' executable '' contents a )")), /'executable' stands where 'contents'/],
  ['executable behind the contents', nar(words("( type regular contents a executable '' )")), /stands where '\)' should be/],
  ['an unknown attribute', nar(words('( type regular mode 755 contents a )')), /'mode' stands where 'executable' or 'contents'/],
  ['a link without a target', nar(words('( type symlink )')), /stands where 'target' should be/],
  ['an empty target', nar(linkNode('')), /a link target is empty or holds a NUL/],
  ['a target with a NUL', nar(linkNode('a\0b')), /a link target is empty or holds a NUL/],
  ['a target of 4096 bytes', nar(linkNode('t'.repeat(4096))), /at byte 88, in \/: a link target has 4096 bytes, the limit is 4095/],
  ['an entry without a name', nar(folderNode(words('entry ( node'))), /stands where 'name' should be/],
  ['an entry without a node', nar(folderNode(words('entry ( name a )'))), /in \/a: something else stands where 'node'/],
  ['an unknown word in a folder', nar(folderNode(words('file'))), /'file' stands where 'entry' or '\)' should be/],
  ['a name of 256 bytes', nar(folderNode(entry('n'.repeat(256), fileNode('')))), /the name of an entry has 256 bytes, the limit is 255/],
  ...[
    ['', /the name of an entry is empty/],
    ['.', /an entry is named '\.'/],
    ['..', /an entry is named '\.\.'/],
    ['a/b', /the name 'a\/b' holds a '\/'/],
    ['/', /the name '\/' holds a '\/'/],
    ['a\0', /the name 'a\\x00' holds a NUL/],
  ].map(([name, message]): [string, Buffer, RegExp] => [
    `the name ${JSON.stringify(name)}`,
    nar(folderNode(entry('%', folderNode(entry(name as string, fileNode('')))))),
    new RegExp(`at byte 264, in /%: ${(message as RegExp).source}`),
  ]),
  ['two entries of a name', nar(folderNode(entry('a', fileNode('')), entry('a', linkNode('b')))), /there are two entries named 'a'/],
  [
    'entries out of order',
    nar(folderNode(entry('b', fileNode('')), entry('a', fileNode('')))),
    /'a' comes after 'b': entries are not sorted/,
  ],
  [
    'the order of UTF-16',
    nar(folderNode(entry('\xf0\x9f\x98\x80', linkNode('x')), entry('\xee\x80\x80', linkNode('x')))),
    /not sorted by bytes/,
  ],
  ['a longer name first', nar(folderNode(entry('aa', fileNode('')), entry('a', fileNode('')))), /not sorted by bytes/],
  ['65 levels', nar(nested(65)), /in (\/d){64}: lies 65 levels deep, the limit is 64/],
  ['a file at level 65', nar(nested(65, fileNode('x'))), /lies 65 levels deep/],
  [
    'a hundred thousand levels',
    nar(Buffer.concat(Array.from({ length: 100_000 }, () => words('( type directory entry ( name d node')))),
    /levels deep/,
  ],
  [
    'padding of a content',
    Buffer.from(nar(fileNode('hello')).toString('latin1').replace('hello\0', 'hello!'), 'latin1'),
    /the 3 padding bytes after a string are not zero/,
  ],
  [
    'padding of a name',
    nar(folderNode(Buffer.from(entry('abc', fileNode('')).toString('latin1').replace('abc\0', 'abcd'), 'latin1'))),
    /the 5 padding bytes/,
  ],
  ['padding of a target', Buffer.from(nar(linkNode('abc')).toString('latin1').replace('abc\0', 'abcd'), 'latin1'), /padding bytes/],
  ['bytes behind the end', Buffer.concat([nar(fileNode('x')), Buffer.alloc(1)]), /at byte 120, in \/: bytes follow behind its end/],
  ['a second NAR behind the end', Buffer.concat([nar(fileNode('x')), nar(fileNode('x'))]), /bytes follow behind its end/],
  ['an unfinished folder', nar(words('( type directory')), /too early/],
  ...[2n ** 63n, 2n ** 64n - 1n, 2n ** 53n, 2n ** 53n - 1n].map((length): [string, Buffer, RegExp] => [
    `a content of ${length} bytes`,
    nar(Buffer.concat([words('( type regular contents'), long('x', length)])),
    length < 2n ** 53n - 1n ? /too early/ : /at byte 88, in \/: a file of [0-9]+ bytes, the limit is 2\^53/,
  ]),
  [
    'a content of 2^40 bytes that is not there',
    nar(Buffer.concat([words('( type regular contents'), long('x', 2n ** 40n)])),
    /too early; it is cut short/,
  ],
  ['a name of 2^63 bytes', nar(folderNode(Buffer.concat([words('entry ( name'), long('x', 2n ** 63n)]))), /the name of an entry has/],
  ['a type of 2^32 bytes', nar(Buffer.concat([words('( type'), long('directory', 2n ** 32n)])), /a string of 4294967296 bytes/],
]

describe('what the format does not allow is BAD_INPUT with offset and path, in a stream and in a file', () => {
  it.each(hostile)('%s', async (_what, bytes, message) => {
    const options = { name: 'x.nar' }
    const error = await failure(() => eventsOf(readNar(chunksOf(bytes), options)), 'BAD_INPUT', message)
    expect(error.path).toBe('x.nar')
    expect(error.message).toMatch(/^x\.nar: no valid NAR: at byte [0-9]+, in \//)
    await failure(() => eventsOf(readNar(chunksOf(bytes, 3), options)), 'BAD_INPUT', message)
    await failure(() => eventsOf(readNarFile(bytesSource(bytes), options)), 'BAD_INPUT', message)
  })

  it('a NAR that is cut at any byte', async () => {
    for (let end = 0; end < ALL_KINDS.length; end += 5) {
      const cut = ALL_KINDS.subarray(0, end)
      await failure(() => eventsOf(readNar(chunksOf(cut, 64))), 'BAD_INPUT', /too early; it is cut short/)
      await failure(() => eventsOf(readNarFile(bytesSource(cut))), 'BAD_INPUT', /too early; it is cut short/)
    }
  })

  it('a bit that is wrong outside of contents, names and targets', async () => {
    const free = new Set<number>()
    for (const text of ['hello', '12345678', '\xfe/..']) {
      const at = ALL_KINDS.indexOf(Buffer.from(text, 'latin1'))
      for (let index = 0; index < text.length; index++) free.add(at + index)
    }
    let refused = 0
    for (let at = 0; at < ALL_KINDS.length; at++) {
      if (free.has(at)) continue
      const bytes = Buffer.from(ALL_KINDS)
      bytes[at] = (bytes[at] ?? 0) ^ 0x80
      const error = await eventsOf(readNar(chunksOf(bytes))).then(
        () => undefined,
        (caught: unknown) => caught,
      )
      if (error === undefined) expect(Buffer.from(ALL_KINDS.subarray(at - 8, at - 1)).readUIntLE(0, 6), String(at)).toBeLessThan(3)
      else refused++
    }
    expect(refused).toBeGreaterThan(ALL_KINDS.length - free.size - 5)
  })
})

describe('memory', () => {
  it('is bounded: a NAR of many entries and a content of 512 MiB pass through', async () => {
    const megabyte = Buffer.alloc(1 << 20)
    async function* input(): AsyncGenerator<Uint8Array> {
      yield Buffer.concat([HEAD, words('( type directory')])
      for (let index = 0; index < 20_000; index++) yield entry(String(index).padStart(200, '0'), linkNode('x'))
      yield Buffer.concat([words('entry ( name z node ( type regular contents'), word('', 2n ** 29n)])
      for (let index = 0; index < 2 ** 9; index++) yield megabyte
      yield words(') ) )')
    }
    const before = process.memoryUsage().rss
    let count = 0
    let bytes = 0
    for await (const event of readNar(input())) {
      if (event.kind === 'chunk') bytes += event.bytes.length
      else count++
    }
    expect({ count, bytes }).toEqual({ count: 20_003, bytes: 2 ** 29 })
    expect(process.memoryUsage().rss - before).toBeLessThan(150 << 20)
  })
})
