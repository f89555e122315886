/**
 * How fast is a codec on one thread, next to the C tool of the same format?
 *
 *     node bench/codecs.ts
 *
 * Input: 8 MiB of the Node binary and 8 MiB of JavaScript, in independent blocks of 128 KiB and 1 MiB; slow codecs take
 * every fourth block. Tool and codec run in turn, three times; each line shows the best of each, in MB/s of input.
 * `zstd -b` and `lz4 -b` time their compression only; `xz` and `gzip` are timed as processes that write to a pipe, and
 * gzip takes the input as one stream, because it knows no blocks.
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, openSync, readdirSync, readFileSync, readSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openCodec, parseCodecSpec } from '../src/codecs/open.ts'

const MIB = 2 ** 20
const ROUNDS = 3
/** A run of a codec goes on over its blocks for at least this long. */
const SHORTEST_RUN_MS = 400

interface Measured {
  readonly megabytesPerSecond: number
  readonly ratio: number
}

interface Contest {
  readonly spec: string
  readonly slow: boolean
  /** The tool's arguments for a file in blocks of `blockSize` bytes. */
  readonly tool: (file: string, blockSize: number) => readonly [string, ...string[]]
  readonly builtIn: boolean
}

const zstd = (level: number): Contest => ({
  spec: `zstd:${level}`,
  slow: level > 9,
  builtIn: true,
  tool: (file, blockSize) => ['zstd', `-b${level}`, '-i1', `-B${blockSize}`, '--single-thread', file],
})

const CONTESTS: readonly Contest[] = [
  { spec: 'lz4', slow: false, builtIn: true, tool: (file, blockSize) => ['lz4', '-b1', '-i1', `-B${blockSize}`, file] },
  { spec: 'lz4:hc', slow: true, builtIn: true, tool: (file, blockSize) => ['lz4', '-b12', '-i1', `-B${blockSize}`, file] },
  zstd(1),
  zstd(3),
  zstd(19),
  { spec: 'gzip:9', slow: true, builtIn: false, tool: (file) => ['gzip', '-9', '-c', file] },
  {
    spec: 'xz:6',
    slow: true,
    builtIn: false,
    tool: (file, blockSize) => [
      'xz',
      '-T1',
      '-kc',
      '--check=crc32',
      `--block-size=${blockSize}`,
      `--lzma2=preset=6,dict=${blockSize}`,
      file,
    ],
  },
]

function javaScript(length: number): Buffer {
  const folder = join(import.meta.dirname, '../node_modules/assemblyscript')
  const parts: Buffer[] = []
  let total = 0
  for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' }).sort()) {
    if (total >= length || !/\.(js|ts)$/.test(name)) continue
    const part = readFileSync(join(folder, name)).subarray(0, length - total)
    parts.push(part)
    total += part.length
  }
  return Buffer.concat(parts)
}

function corpus(): Buffer {
  const binary = Buffer.alloc(8 * MIB)
  readSync(openSync(process.execPath, 'r'), binary, 0, binary.length, 32 * MIB)
  return Buffer.concat([binary, javaScript(8 * MIB)])
}

function everyFourth(bytes: Buffer): Buffer {
  return Buffer.concat(Array.from({ length: bytes.length / MIB / 4 }, (_, index) => bytes.subarray(index * 4 * MIB, (index * 4 + 1) * MIB)))
}

async function runCodec(spec: string, bytes: Buffer, blockSize: number): Promise<Measured> {
  const codec = await openCodec(parseCodecSpec(spec), blockSize)
  let input = 0
  let output = 0
  const start = performance.now()
  do {
    for (let at = 0; at < bytes.length; at += blockSize) output += codec.compress(bytes.subarray(at, at + blockSize)).length
    input += bytes.length
  } while (performance.now() - start < SHORTEST_RUN_MS)
  return { megabytesPerSecond: input / (performance.now() - start) / 1e3, ratio: input / output }
}

function runTool(contest: Contest, file: string, size: number, blockSize: number): Measured | undefined {
  const [tool, ...args] = contest.tool(file, blockSize)
  const start = performance.now()
  const result = spawnSync(tool, args, { maxBuffer: 1 << 28 })
  if (result.error !== undefined || result.status !== 0) return undefined
  if (!contest.builtIn) return { megabytesPerSecond: size / (performance.now() - start) / 1e3, ratio: size / result.stdout.length }
  // The last of the lines that overwrite each other: `name : size -> size (ratio), compression MB/s, decompression MB/s`.
  const lines = [...`${result.stdout}${result.stderr}`.matchAll(/\(x?([0-9.]+)\), *([0-9.]+) MB\/s/g)]
  const [, ratio, speed] = lines.at(-1) ?? []
  return ratio === undefined ? undefined : { megabytesPerSecond: Number(speed), ratio: Number(ratio) }
}

function better(a: Measured | undefined, b: Measured | undefined): Measured | undefined {
  return a === undefined || (b !== undefined && b.megabytesPerSecond > a.megabytesPerSecond) ? b : a
}

const show = (value: Measured | undefined): string =>
  value === undefined ? '   not installed ' : `${value.megabytesPerSecond.toFixed(1).padStart(8)} x${value.ratio.toFixed(3).padEnd(7)}`

const folder = mkdtempSync(join(tmpdir(), 'kilnix-bench-'))
try {
  const whole = corpus()
  const quarter = everyFourth(whole)
  writeFileSync(join(folder, 'whole'), whole)
  writeFileSync(join(folder, 'quarter'), quarter)
  console.log(`${'codec'.padEnd(10)}${'block'.padEnd(10)}${'kilnix MB/s'.padEnd(18)}${'tool MB/s'.padEnd(18)}speed of the tool's`)
  for (const blockSize of [131072, MIB]) {
    for (const contest of CONTESTS) {
      const bytes = contest.slow ? quarter : whole
      const file = join(folder, contest.slow ? 'quarter' : 'whole')
      let ours: Measured | undefined
      let tools: Measured | undefined
      for (let round = 0; round < ROUNDS; round++) {
        tools = better(tools, runTool(contest, file, bytes.length, blockSize))
        ours = better(ours, await runCodec(contest.spec, bytes, blockSize))
      }
      const share = ours && tools ? `${((100 * ours.megabytesPerSecond) / tools.megabytesPerSecond).toFixed(0)} %` : ''
      console.log(`${contest.spec.padEnd(10)}${`${blockSize / 1024} KiB`.padEnd(10)}${show(ours)} ${show(tools)} ${share}`)
    }
  }
} finally {
  rmSync(folder, { recursive: true })
}
