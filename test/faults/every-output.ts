/**
 * Makes every kind of output of the small closure with the command, in this one process, and writes their digests to
 * `report`: `node every-output.ts '{"folder": ..., "jobs": ..., ...}'`.
 */
import { createHash, type Hash } from 'node:crypto'
import { lstatSync, mkdirSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { removeStore } from '../../fixtures/unpack.ts'
import { main } from '../../src/cli/main.ts'

export interface Request {
  /** For what is written; removed at the end. */
  readonly folder: string
  /** What is to be made, by name: arguments, in which `OUT` stands for the file or folder to write. */
  readonly outputs: readonly (readonly [name: string, args: readonly string[]])[]
  readonly report: string
}

export type Report = Readonly<Record<string, string>>

async function makeAll({ folder, outputs, report }: Request): Promise<void> {
  process.stdout.setMaxListeners(0)
  process.stderr.setMaxListeners(0)
  mkdirSync(folder)
  const digests: Record<string, string> = {}
  for (const [name, args] of outputs) {
    const out = join(folder, 'out')
    const status = await main(args.map((argument) => argument.replaceAll('OUT', out)))
    digests[name] = status === 0 ? digestOf(join(folder)) : `status ${status}`
    await removeStore(folder)
    mkdirSync(folder)
  }
  await removeStore(folder)
  writeFileSync(report, JSON.stringify(digests))
}

/** Of a file, or of all that is in a folder: names, permissions and contents. */
function digestOf(path: string): string {
  const hash = createHash('sha256')
  addTo(hash, path)
  return hash.digest('hex').slice(0, 16)
}

function addTo(hash: Hash, path: string): void {
  const stat = lstatSync(path)
  hash.update(`${(stat.mode & 0o177555).toString(8)}\n`)
  if (stat.isSymbolicLink()) hash.update(readlinkSync(path))
  else if (stat.isFile()) hash.update(readFileSync(path))
  else {
    for (const name of readdirSync(path).sort()) {
      hash.update(`${name}\n`)
      addTo(hash, join(path, name))
    }
  }
}

if (process.argv[2] !== undefined) await makeAll(JSON.parse(process.argv[2]) as Request)
