/** That no byte depends on who is faster: every kind of output, again and again, while reads and writes take now longer, now not. */
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { addTwin } from '../images/twins.ts'
import { specOfToplevel } from '../system/assemble/of-store.ts'
import type { Report, Request } from './every-output.ts'
import { kilnix, smallWork, type Work } from './support.ts'

const DELAYS = ['--import', new URL('./delays.ts', import.meta.url).href]
const EVERY_OUTPUT = fileURLToPath(new URL('./every-output.ts', import.meta.url))

type Output = Request['outputs'][number]

let work: Work
let base: readonly string[]
beforeAll(async () => {
  work = await smallWork()
  base = ['--closure', work.closure.folder, '--root', work.closure.root, '--quiet']
})
afterAll(() => work.remove())

const CONTAINERS = [
  ...['raw', 'qcow2', 'qcow2-compressed', 'vdi', 'vhd', 'vhd-fixed', 'vhdx', 'vmdk', 'vmdk-stream', 'ova', 'raw.tar.gz'],
] as const

/** Everything that the command writes, each once. */
async function everyOutput(): Promise<Output[]> {
  const { folder, closure } = work
  const { root, toplevel } = closure
  const twin = await addTwin({ listing: join(closure.folder, 'path-info.json'), root, into: folder }, 'self-reference-1.0')
  writeFileSync(join(folder, 'spec.json'), JSON.stringify(specOfToplevel(root, toplevel, folder)))
  writeFileSync(join(folder, 'disk.img'), disk())
  const withTwin = ['--closure', twin.listing, '--root', root, '--quiet', '--replace', twin.pair]
  const store = (codec: string): readonly string[] => ['--compression', codec, '--block-size', '128K']
  const netboot = ['netboot', ...base, ...store('zstd:1'), '--kexec', '--kexec-compression', 'zstd:1']
  const pieces = ['--pieces', 'PIECES']
  const out = ['-o', 'OUT']
  return [
    ['iso', ['iso', ...base, ...store('zstd:1'), ...out]],
    ['iso of plain blocks', ['iso', ...base, ...store('none'), ...out]],
    ...['gzip:1', 'lz4'].map((codec): Output => [`squashfs, ${codec}`, ['squashfs', ...base, ...store(codec), ...out]]),
    ...CONTAINERS.map(
      (format): Output => [`convert, ${format}`, ['convert', join(folder, 'disk.img'), '--quiet', '--format', format, ...out]],
    ),
    ['disk', ['disk', ...base, '--free', '0', '--esp-size', '20M', ...out]],
    ['zfs', ['zfs', ...base, '--root-size', 'auto', '--free', '8M', '--boot-size', '64M', ...out]],
    ...['single', 'per-path'].map((style): Output => [`netboot, ${style}`, [...netboot, '--style', style, ...out]]),
    ['netboot, first pieces', [...netboot, '--style', 'manifest', ...pieces, ...out]],
    ['netboot, same pieces', [...netboot, '--style', 'manifest', ...pieces, ...out]],
    ...['gzip:1', 'zstd:1', 'lz4'].map(
      (codec): Output => [`initrd, ${codec}`, ['initrd', ...base, '--link', '/init=/bin/init', '--compression', codec, ...out]],
    ),
    ['replace', ['replace', ...withTwin, '--whole-store', ...out]],
    ['squashfs, replaced', ['squashfs', ...withTwin, ...store('zstd:1'), ...out]],
    ['toplevel', ['toplevel', join(folder, 'spec.json'), ...base, ...out]],
  ]
}

/** 10 MiB with text, noise and holes. */
function disk(): Buffer {
  const bytes = Buffer.alloc(10 << 20)
  bytes.fill('some text that is there again and again, ', 1 << 20, 3 << 20)
  for (let at = 4 << 20; at < 6 << 20; at += 32) createHash('sha256').update(`${at}`).digest().copy(bytes, at)
  return bytes.fill('the end', bytes.length - 512)
}

async function digestsOf(outputs: readonly Output[], seed: number): Promise<Report> {
  const request: Request = { folder: join(work.folder, `out-${seed}`), outputs, report: join(work.folder, `report-${seed}`) }
  const env = { ...process.env, SOURCE_DATE_EPOCH: '', KILNIX_TEST_DELAYS: `${seed}` }
  const child = spawn(process.execPath, [...DELAYS, EVERY_OUTPUT, JSON.stringify(request)], { env, stdio: ['ignore', 'ignore', 'inherit'] })
  const [status] = await once(child, 'close')
  expect(status).toBe(0)
  const report = JSON.parse(readFileSync(request.report, 'utf8')) as Report
  expect(Object.entries(report).filter(([, digest]) => digest.startsWith('status'))).toEqual([])
  expect(Object.keys(report)).toEqual(outputs.map(([name]) => name))
  return report
}

/** Of standard output. */
async function streamed(args: readonly string[], seed: number): Promise<string> {
  const env = { ...process.env, KILNIX_TEST_DELAYS: `${seed}` }
  const { status, stdout, stderr } = await kilnix(args, { node: DELAYS, env })
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
  return createHash('sha256').update(stdout).digest('hex')
}

describe('whatever takes how long', () => {
  it('an image compressed as a whole has the same bytes, to a file and to standard output', async () => {
    const args = ['iso', ...base, '--compression', 'none', '--compress-image']
    const jobs = ['1', '1', '1', '2', '2', '2', '4', '4', '8', '8']
    const outputs = jobs.map((count, index): Output => [`${index}`, [...args, '--jobs', count, '-o', 'OUT']])
    const [files, ...streams] = await Promise.all([digestsOf(outputs, 1), ...[2, 3].map((seed) => streamed([...args, '-o', '-'], seed))])
    expect(new Set(Object.values(files)).size).toBe(1)
    expect(streams[1]).toBe(streams[0])
  }, 600_000)

  it('every output has the same bytes', async () => {
    const outputs = await everyOutput()
    const madeWith = (jobs: number): Promise<Report> => {
      const ofRun = outputs.map(([name, args]): Output => {
        const given = args.map((argument) => argument.replace('PIECES', join(work.folder, `pieces-${jobs}`)))
        return [name, ['replace', 'toplevel'].includes(args[0] ?? '') ? given : [...given, '--jobs', `${jobs}`]]
      })
      return digestsOf(ofRun, jobs)
    }
    const [one, several] = await Promise.all([madeWith(1), madeWith(5)])
    expect(several).toEqual(one)
    expect(one['netboot, same pieces']).toBe(one['netboot, first pieces'])
  }, 600_000)

  it('a NAR has the same bytes', async () => {
    const dumps = await Promise.all([4, 5].map((seed) => streamed(['nar', 'dump', work.closure.root], seed)))
    expect(dumps[1]).toBe(dumps[0])
  })
})
