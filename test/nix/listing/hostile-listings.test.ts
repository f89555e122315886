/** Listings that lie, break off, or are something else: each a clear error, before any output. */
import { closeSync, ftruncateSync, mkdirSync, openSync, readdirSync, writeFileSync, writeSync } from 'node:fs'
import { gzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import type { ErrorCode } from '../../../src/errors.ts'
import { Turns } from '../../../src/io/turns.ts'
import { findCycle } from '../../../src/nix/listing/cycles.ts'
import { EdgeList } from '../../../src/nix/listing/graph.ts'
import { LISTING_LIMIT, readClosure } from '../../../src/nix/listing/read.ts'
import { failure, scratchFolder } from '../scratch.ts'

const HASH = 'sha256:1fa7fwmxml3vpa6f1xpgb1gii1j4g6qxkgaa1c265yfwdrdjqxwc'
const path = (letter: string, name = letter): string => `/nix/store/${letter.repeat(32)}-${name}`

/** A record of a registration with one line changed. */
function record(
  of: string,
  references: readonly string[] = [],
  lines: Partial<Record<'hash' | 'size' | 'deriver' | 'count', string>> = {},
): string {
  const { hash = HASH, size = '184', deriver = '', count = String(references.length) } = lines
  return `${[of, hash, size, deriver, count, ...references].join('\n')}\n`
}

const info = { narHash: HASH, narSize: 184, references: [] }
const json = (value: unknown): string => JSON.stringify(value)

const read = (input: string | Uint8Array): Promise<unknown> =>
  readClosure('-', {
    stdin: (async function* () {
      yield Buffer.from(input)
    })(),
  })

type Case = readonly [what: string, input: string | Uint8Array, code: ErrorCode, message: RegExp]

const TEXT: readonly Case[] = [
  ['nothing', '', 'BAD_INPUT', /<stdin>: the listing is empty/],
  ['blank lines only', '\n\n\n', 'BAD_INPUT', /empty/],
  ['one blank', ' ', 'BAD_INPUT', /<stdin>:1: ' ' is not a path/],
  ['a sentence', 'hello world\n', 'BAD_INPUT', /<stdin>:1: 'hello world' is not a path below \/nix\/store/],
  ['a path out of the store', `${path('a')}\n/etc/passwd\n`, 'BAD_INPUT', /<stdin>:2: '\/etc\/passwd'/],
  ['a file in a store path', `${path('a')}/bin/sh\n`, 'BAD_INPUT', /<stdin>:1: .*holds '\/'/],
  ['a way out', `${path('a')}\n${path('b')}/../../../etc\n`, 'BAD_INPUT', /<stdin>:2/],
  ['a NUL', `${path('a')}\n${path('b')}\0\n`, 'BAD_INPUT', /<stdin>:2: byte 46 is 0x00/],
  ['a tab', `${path('a')}\t\n`, 'BAD_INPUT', /0x09/],
  ['invalid UTF-8', Buffer.concat([Buffer.from(path('a')), Buffer.from([0xff, 0xfe, 10])]), 'BAD_INPUT', /<stdin>:1: byte 46 is 0xff/],
  ['a byte order mark', `\ufeff${path('a')}\n`, 'BAD_INPUT', /byte 1 is 0xef/],
  ['UTF-16', Buffer.from(`${path('a')}\n`, 'utf16le'), 'BAD_INPUT', /byte 2 is 0x00/],
  ['a compressed file', gzipSync(path('a')), 'BAD_INPUT', /0x1f/],
  ['a program', Buffer.from('\x7fELF\x02\x01\x01'), 'BAD_INPUT', /byte 1 is 0x7f/],
  ['a name of 212 bytes', `${path('a', 'n'.repeat(212))}\n`, 'BAD_INPUT', /212/],
  ['a foreign digit', `${path('e')}\n`, 'BAD_INPUT', /hash part/],
  ['a path twice', `${path('a')}\n${path('b')}\n${path('a')}\n`, 'BAD_INPUT', /<stdin>:3: .*listed twice, first at <stdin>:1/],
  ['a thousand blank lines', `${path('a')}\n${'\n'.repeat(1000)}`, 'BAD_INPUT', /<stdin>:2: .*blank/],
  ['a blank line between paths', `${path('a')}\n\n${path('b')}\n`, 'BAD_INPUT', /<stdin>:2: the line is blank/],
  ['a line of 64 KiB and one byte', `${path('a')}\n${'x'.repeat(65537)}\n`, 'LIMIT', /<stdin>:2: .*longer than 65536/],
]

const RECORDS: readonly Case[] = [
  [
    'a path twice',
    record(path('a')) + record(path('b')) + record(path('a')),
    'BAD_INPUT',
    /<stdin>:11: .*a-a is listed twice, first at <stdin>:1/,
  ],
  [
    'a path twice with another hash',
    record(path('a')) + record(path('a'), [], { hash: HASH.replace('1f', '0f') }),
    'BAD_INPUT',
    /listed twice/,
  ],
  [
    'a reference that is not listed',
    record(path('a'), [path('b')]),
    'NOT_FOUND',
    /aaa-a refers to \/nix\/store\/b+-b, which is not in the listing/,
  ],
  [
    'a cycle',
    record(path('a'), [path('b')]) + record(path('b'), [path('c')]) + record(path('c'), [path('a')]),
    'BAD_INPUT',
    /cycle: \S+a-a -> \S+b-b -> \S+c-c -> \S+a-a$/,
  ],
  [
    'a cycle behind a path',
    record(path('a'), [path('b')]) + record(path('b'), [path('c')]) + record(path('c'), [path('b'), path('c')]),
    'BAD_INPUT',
    /cycle: \S+b-b -> \S+c-c -> \S+b-b$/,
  ],
  ['a reference twice', record(path('a'), [path('a'), path('a')]), 'BAD_INPUT', /lists the reference .* twice/],
  ['more references than counted', record(path('a')) + record(path('b'), [path('a'), path('b')], { count: '1' }), 'BAD_INPUT', /<stdin>:/],
  [
    'fewer references than counted',
    record(path('a'), [path('a')], { count: '2' }) + record(path('b')),
    'BAD_INPUT',
    /<stdin>:8 \(record of \S+a-a\): 'sha256:\S+' stands where|<stdin>:/,
  ],
  ['an end within a record', record(path('a')).slice(0, -4), 'BAD_INPUT', /the file ends within this record/],
  [
    'an end before the last reference',
    record(path('a'), [path('a')], { count: '2' }),
    'BAD_INPUT',
    /ends within this record, before reference 2 of 2/,
  ],
  ['an endless count', record(path('a'), [], { count: '9007199254740991' }), 'BAD_INPUT', /ends within/],
  ['a count beyond 2^53', record(path('a'), [], { count: '99999999999999999999' }), 'BAD_INPUT', /whole number below 2\^53/],
  ['a negative count', record(path('a'), [], { count: '-1' }), 'BAD_INPUT', /whole number/],
  ['an empty count', record(path('a'), [], { count: '' }), 'BAD_INPUT', /whole number/],
  ['another hash', record(path('a'), [], { hash: 'md5:d41d8cd98f00b204e9800998ecf8427e' }), 'BAD_INPUT', /<stdin>:2 .*is a md5 hash/],
  ['a short hash', record(path('a'), [], { hash: HASH.slice(0, -1) }), 'BAD_INPUT', /<stdin>:2 .*no SHA-256/],
  ['a hash with a foreign digit', record(path('a'), [], { hash: HASH.replace('f', 'e') }), 'BAD_INPUT', /no SHA-256/],
  ['a hash only later', record(path('a')) + record(path('b'), [], { hash: '' }), 'BAD_INPUT', /<stdin>:7 .*'' is no SHA-256/],
  ['size 0', record(path('a'), [], { size: '0' }), 'BAD_INPUT', /<stdin>:3 .*0 cannot be the size of a NAR/],
  ['a size not a multiple of 8', record(path('a'), [], { size: '185' }), 'BAD_INPUT', /185 cannot/],
  ['a size below the smallest NAR', record(path('a'), [], { size: '88' }), 'BAD_INPUT', /88 cannot/],
  ['a size beyond 2^53', record(path('a'), [], { size: '9007199254740992' }), 'BAD_INPUT', /cannot be the size/],
  ['a size of 20 digits', record(path('a'), [], { size: '10000000000000000000' }), 'BAD_INPUT', /whole number/],
  ['a negative size', record(path('a'), [], { size: '-184' }), 'BAD_INPUT', /whole number/],
  ['a hexadecimal size', record(path('a'), [], { size: '0xb8' }), 'BAD_INPUT', /whole number/],
  ['a leading zero', record(path('a'), [], { size: '0184' }), 'BAD_INPUT', /whole number/],
  ['a deriver that is no path', record(path('a'), [], { deriver: 'no-deriver' }), 'BAD_INPUT', /<stdin>:4 .*no-deriver/],
  ['a reference out of the store', record(path('a'), ['/etc/passwd']), 'BAD_INPUT', /<stdin>:6 .*not a path below/],
  ['a blank line between records', `${record(path('a'))}\n${record(path('b'))}`, 'BAD_INPUT', /<stdin>:6: the line is blank/],
  ['another store directory', record('/gnu/store/00000000000000000000000000000000-a'), 'BAD_INPUT', /not a path below \/nix\/store/],
]

const JSON_INPUT: readonly Case[] = [
  ['a syntax error', '{"a": 1,}', 'BAD_INPUT', /JSON cannot be parsed: .*position 8/],
  ['an end within', '[{"path": "/nix', 'BAD_INPUT', /cannot be parsed/],
  ['invalid UTF-8', Buffer.from([0x5b, 0x22, 0xff, 0x22, 0x5d]), 'BAD_INPUT', /not valid UTF-8/],
  ['an empty array', '[]', 'BAD_INPUT', /listing is empty/],
  ['an empty object', '{}', 'BAD_INPUT', /listing is empty/],
  ['an empty info', json({ version: 2, info: {} }), 'BAD_INPUT', /listing is empty/],
  ['an unknown layout', json({ hello: 'world' }), 'BAD_INPUT', /unknown layout \(keys 'hello'\); known are the output of nix path-info/],
  ['an unknown version', json({ version: 4, info: { x: info } }), 'BAD_INPUT', /version 4; known are 2 and 3/],
  ['no version', json({ info: { x: info } }), 'BAD_INPUT', /known are 2 and 3/],
  ['an array of texts', json([path('a')]), 'BAD_INPUT', /\[0\]: an object with "path" is needed/],
  ['a key twice', `{"${path('a')}": ${json(info)}, "${path('a')}": ${json(info)}}`, 'BAD_INPUT', /<stdin>:1: '\S+a-a' stands twice/],
  [
    'a key twice in other spelling',
    `{"${path('a')}": ${json(info)},\n"${path('a').replace('/nix', '\\u002fnix')}"  : ${json(info)}}`,
    'BAD_INPUT',
    /<stdin>:2: .*stands twice/,
  ],
  [
    'a field twice',
    `[{"path": "${path('a')}", "narSize": 8, "narSize":\n184, "narHash": "${HASH}", "references": []}]`,
    'BAD_INPUT',
    /'narSize' stands twice/,
  ],
  [
    'a path twice in an array',
    json([
      { path: path('a'), ...info },
      { path: path('a'), ...info },
    ]),
    'BAD_INPUT',
    /\[1\]: .*listed twice, first at <stdin>: \[0\]/,
  ],
  ['an unknown path, map layout', json({ [path('a')]: info, [path('b')]: null }), 'NOT_FOUND', /b+-b is not valid/],
  ['an unknown path, array layout', json([{ path: path('a'), valid: false }]), 'NOT_FOUND', /a+-a is not valid/],
  ['no hash', json([{ path: path('a'), narSize: 184, references: [] }]), 'BAD_INPUT', /\[0\]: "narHash" is missing/],
  ['no references', json([{ path: path('a'), narSize: 184, narHash: HASH }]), 'BAD_INPUT', /"references" is missing/],
  ['references that are no text', json([{ path: path('a'), ...info, references: [1] }]), 'BAD_INPUT', /"references"/],
  ['a size as text', json([{ path: path('a'), ...info, narSize: '184' }]), 'BAD_INPUT', /"narSize" is missing or no number/],
  ['a broken size', json([{ path: path('a'), ...info, narSize: 184.5 }]), 'BAD_INPUT', /184\.5 cannot/],
  ['a size beyond 2^53', `[{"path":"${path('a')}","narHash":"${HASH}","references":[],"narSize":1e300}]`, 'BAD_INPUT', /1e\+300 cannot/],
  ['a path that is none', json({ [path('a')]: info, '/nix/store/../../etc': info }), 'BAD_INPUT', /'\/nix\/store\/\.\.\/\.\.\/etc'/],
  ['a base name that is none', json({ version: 2, info: { '../../etc/passwd': info } }), 'BAD_INPUT', /etc\/passwd/],
  ['__proto__', `{"/nix/store/x": 1, "__proto__": {"path": 1}}`, 'BAD_INPUT', /no store path/],
  ['another store directory', json({ version: 2, storeDir: '/gnu/store', info: { x: info } }), 'UNSUPPORTED', /"\/gnu\/store"/],
  ['a reference that is not listed', json({ [path('a')]: { ...info, references: [path('b')] } }), 'NOT_FOUND', /refers to \S+b-b/],
  [
    'graphs that contradict each other',
    json({ one: [{ path: path('a'), ...info }], two: [{ path: path('a'), ...info, narSize: 192 }] }),
    'BAD_INPUT',
    /two\[0\]: contradicts <stdin>: one\[0\]/,
  ],
  [
    'a path twice in a graph',
    json({
      one: [
        { path: path('a'), ...info },
        { path: path('a'), ...info },
      ],
    }),
    'BAD_INPUT',
    /listed twice/,
  ],
  [
    'a path twice in the second graph',
    json({
      one: [{ path: path('a'), ...info }],
      two: [
        { path: path('a'), ...info },
        { path: path('a'), ...info },
      ],
    }),
    'BAD_INPUT',
    /listed twice/,
  ],
  ['a hundred thousand brackets', '['.repeat(100_000), 'LIMIT', /at position 256 arrays and objects nest deeper than 256 levels/],
]

describe('hostile listings', () => {
  const scratch = scratchFolder()

  it.each(TEXT)('text: %s', async (_what, input, code, message) => {
    await failure(() => read(input), code, message)
  })
  it.each(RECORDS)('records: %s', async (_what, input, code, message) => {
    await failure(() => read(input), code, message)
  })
  it.each(JSON_INPUT)('JSON: %s', async (_what, input, code, message) => {
    await failure(() => read(input), code, message)
  })

  it('takes the record that all cases of the table are made from', async () => {
    await expect(read(record(path('a'), [path('a'), path('b')]) + record(path('b')))).resolves.toMatchObject({ hashesKnown: true })
    await expect(read(json([{ path: path('a'), ...info }]))).resolves.toMatchObject({ hashesKnown: true })
  })

  it('does not read on through a line without end', async () => {
    let sent = 0
    async function* endless(): AsyncGenerator<Uint8Array> {
      yield Buffer.from(`${path('a')}\n`)
      for (;;) {
        sent += 65536
        yield Buffer.alloc(65536, 0x78)
      }
    }
    await failure(() => readClosure('-', { stdin: endless() }), 'LIMIT', /<stdin>:2: the line is longer/)
    expect(sent).toBeLessThan(1e6)
  })

  it('does not read on through blanks without end', async () => {
    let sent = 0
    async function* endless(): AsyncGenerator<Uint8Array> {
      for (;;) {
        sent += 65536
        yield Buffer.alloc(65536, 0x20)
      }
    }
    await failure(() => readClosure('-', { stdin: endless() }), 'LIMIT', /longer/)
    expect(sent).toBeLessThan(1e6)
  })

  it('refuses a file of 4 GiB in one line without reading it', async () => {
    const file = openSync(scratch('line'), 'w')
    writeSync(file, `${path('a')}\n`)
    ftruncateSync(file, 4 * 1024 ** 3)
    closeSync(file)
    await failure(() => readClosure(scratch('line')), 'LIMIT', /line:2: the line is longer than 65536 bytes/)
  })

  it('refuses JSON beyond its limit', async () => {
    async function* large(): AsyncGenerator<Uint8Array> {
      yield Buffer.from('[')
      // Never touched, so it takes no memory.
      yield Buffer.alloc(LISTING_LIMIT)
    }
    await failure(() => readClosure('-', { stdin: large() }), 'LIMIT', /larger than 1073741824 bytes/)
  })

  it('refuses a listing beyond its limit', async () => {
    async function* large(): AsyncGenerator<Uint8Array> {
      yield Buffer.from(`${path('a')}\n`)
      // Never touched, so it takes no memory.
      yield Buffer.alloc(LISTING_LIMIT)
    }
    await failure(() => readClosure('-', { stdin: large() }), 'LIMIT', /larger than 1073741824 bytes/)
  })

  it('names files that are not there, not readable, or folders of another kind', async () => {
    await failure(() => readClosure(scratch('nothing')), 'NOT_FOUND', /nothing: no such file/)
    mkdirSync(scratch('folder'))
    await failure(() => readClosure(scratch('folder')), 'NOT_FOUND', /store-paths: no such file; a closureInfo folder holds/)
    writeFileSync(scratch('folder/store-paths'), `${path('a')}\n`)
    await failure(() => readClosure(scratch('folder')), 'NOT_FOUND', /registration: no such file/)
    writeFileSync(scratch('folder/registration'), record(path('a')))
    await failure(() => readClosure(scratch('folder')), 'NOT_FOUND', /total-nar-size: no such file/)
    await failure(() => readClosure(scratch('folder/store-paths/x')), 'NOT_FOUND', /no such file/)
    await failure(() => readClosure('/proc/self/mem'), 'UNREADABLE', /cannot be read \(E/)
    await failure(() => readClosure('-'), 'USAGE', /standard input/)
  })

  it('keeps no file open after an error', async () => {
    const openFiles = (): number => readdirSync('/proc/self/fd').length
    writeFileSync(scratch('bad'), `hello\n${'x\n'.repeat(1e6)}`)
    const before = openFiles()
    for (let round = 0; round < 20; round++) await failure(() => readClosure(scratch('bad')), 'BAD_INPUT', /bad:1/)
    expect(openFiles() - before).toBeLessThan(10)
  })
})

describe('findCycle', () => {
  /** What it finds in a graph of names. */
  const cycleOf = (graph: ReadonlyMap<string, readonly string[]>): Promise<string[] | undefined> => {
    const names = [...graph.keys()]
    const list = new EdgeList(names.length)
    const indexes = new Map(names.map((name, index) => [name, index]))
    for (const [index, name] of names.entries())
      list.add(
        index,
        (graph.get(name) ?? []).map((to) => indexes.get(to) ?? 0),
      )
    return findCycle(list.edges(), new Turns()).then((cycle) => cycle?.map((index) => names[index] ?? ''))
  }

  it('agrees with a search by removal on random graphs', async () => {
    let seed = 1
    const random = (below: number): number => {
      seed = (seed * 48271) % 2147483647
      return seed % below
    }
    let cyclic = 0
    for (let round = 0; round < 500; round++) {
      const nodes = Array.from({ length: 1 + random(8) }, (_, index) => String(index))
      const graph = new Map(nodes.map((node) => [node, nodes.filter(() => random(6) === 0)]))
      const left = new Set(nodes)
      for (let removed = true; removed; ) {
        removed = false
        for (const node of left) if (!graph.get(node)?.some((to) => to !== node && left.has(to))) removed = left.delete(node)
      }
      const cycle = await cycleOf(graph)
      expect(cycle !== undefined).toBe(left.size > 0)
      if (cycle === undefined) continue
      cyclic++
      for (const [index, node] of cycle.entries()) expect(graph.get(node)).toContain(cycle[(index + 1) % cycle.length])
    }
    expect(cyclic).toBeGreaterThan(50)
  })

  it('walks a chain of 200,000 references', async () => {
    const chain = new Map(Array.from({ length: 200_000 }, (_, index) => [String(index), index + 1 < 200_000 ? [String(index + 1)] : []]))
    expect(await cycleOf(chain)).toBeUndefined()
    chain.set('199999', ['0'])
    expect(await cycleOf(chain)).toHaveLength(200_000)
  })
})
