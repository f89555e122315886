/**
 * How long does it take to compress an initramfs, next to the tool a user would take?
 *
 *     node bench/streams.ts [codec]...
 *
 * Input: the files of the large closure as one cpio archive, its first 128 MiB, and 32 MiB of it for slow codecs. All read the
 * archive from a file and write a file; with `-T0` and the like the tools use all processors, as we do. Ratios are those to
 * the last of each group: what nixpkgs calls, or the fastest that makes the same format.
 */
import { spawnSync } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, readSync, rmSync, writeFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Contestant } from './contest.ts'

const MIB = 2 ** 20
const WHOLE = 128 * MIB
const PART = 32 * MIB
const ROUNDS = 3
const SELF = fileURLToPath(import.meta.url)
const COMPILED = new URL('../.cache/published/dist/', import.meta.url)

interface Group {
  readonly spec: string
  readonly isSlow: boolean
  /** Commands that read `$IN`. */
  readonly tools: readonly string[]
}

const GROUPS: readonly Group[] = [
  { spec: 'zstd:10', isSlow: false, tools: ['zstd -q -10 -T0 -c "$IN"', 'zstd -q -10 -c "$IN"'] },
  { spec: 'zstd:19', isSlow: true, tools: ['zstd -q -19 -T0 -c "$IN"', 'zstd -q -19 -c "$IN"'] },
  { spec: 'gzip:9', isSlow: false, tools: ['pigz -9nc "$IN"', 'gzip -9nc "$IN"'] },
  { spec: 'lz4', isSlow: false, tools: ['lz4 -qlc "$IN"'] },
  { spec: 'lz4:hc', isSlow: true, tools: ['lz4 -qlc -12 "$IN"'] },
  { spec: 'xz:6', isSlow: true, tools: ['xz -T0 -6 --check=crc32 -c "$IN"', 'xz -T1 --check=crc32 --lzma2=dict=512KiB -c "$IN"'] },
]

/** The child that stands for us: `compress <codec> <input> <output>`. As the tools do, it leaves it to the system when to write. */
async function compress(spec: string, input: string, output: string): Promise<void> {
  const { compressedImage } = await compiled<typeof import('../src/codecs/stream/index.ts')>('codecs/stream/index.js')
  const { parseCodecSpec } = await compiled<typeof import('../src/codecs/open.ts')>('codecs/open.js')
  const { FileTarget } = await compiled<typeof import('../src/io/file-target.ts')>('io/file-target.js')
  const { regionImage } = await compiled<typeof import('../src/io/region.ts')>('io/region.js')
  const [source, handle] = [await open(input, 'r'), await open(output, 'w+')]
  const image = regionImage(new FileTarget(source, input, false), 0, (await source.stat()).size)
  const stream = compressedImage(image, { codec: parseCodecSpec(spec) })
  await stream.pack(new FileTarget(handle, output, false), 0, { jobs: availableParallelism() })
  await Promise.all([source.close(), handle.close()])
}

/** A module as it is published: started threads do not have to strip types. */
async function compiled<T>(path: string): Promise<T> {
  return (await import(new URL(path, COMPILED).href)) as T
}

/** The first bytes of the archive of all files below `folder`. */
function writeArchive(folder: string, whole: string, part: string): void {
  const command = `cd "$FOLDER" && find . -print | LC_ALL=C sort | cpio --quiet -o -H newc 2>/dev/null | head -c ${WHOLE} > "$WHOLE"`
  spawnSync('bash', ['-c', command], { env: { ...process.env, FOLDER: folder, WHOLE: whole } })
  const bytes = Buffer.alloc(PART)
  const file = openSync(whole, 'r')
  writeFileSync(part, bytes.subarray(0, readSync(file, bytes, 0, PART, WHOLE / 4)))
  closeSync(file)
}

function isInstalled(command: string): boolean {
  return spawnSync('bash', ['-c', `command -v ${command.split(' ')[0]}`]).status === 0
}

async function main(wanted: readonly string[]): Promise<void> {
  const { contest, LARGE, requireClosure } = await import('./contest.ts')
  requireClosure()
  const folder = mkdtempSync(join(tmpdir(), 'kilnix-streams-'))
  try {
    const [whole, part] = [join(folder, 'whole'), join(folder, 'part')]
    writeArchive(join(LARGE, 'root/nix/store'), whole, part)
    console.log(`${availableParallelism()} processors`)
    for (const { spec, isSlow, tools } of GROUPS) {
      if (wanted.length > 0 && !wanted.includes(spec)) continue
      const input = isSlow ? part : whole
      const contestants: Contestant[] = [
        { name: `kilnix ${spec}`, command: `${process.execPath} ${SELF} compress ${spec} ${input} "$OUT"` },
        ...tools
          .filter(isInstalled)
          .map((tool) => ({ name: tool.replace(/ -?[qc]* ?"\$IN"/, ''), command: `IN=${input}; ${tool} > "$OUT"` })),
      ]
      contest(`${spec}: ${(isSlow ? PART : WHOLE) / MIB} MiB of programs`, contestants, ROUNDS)
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

const [mode, spec = '', input = '', output = ''] = process.argv.slice(2)
if (mode === 'compress') await compress(spec, input, output)
else await main(process.argv.slice(2))
