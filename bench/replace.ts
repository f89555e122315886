/**
 * Are store paths rewritten faster than by what nixpkgs does, `nix-store --dump | sed | nix-store --restore` a path?
 *
 *     node bench/replace.ts [NAME]
 *
 * A path of the large closure (default libc6, to which nearly all refer) is replaced with a copy. Both write all rewritten
 * paths to a folder. Ours also checks the NAR hashes of what it reads, and makes the new paths content-addressed and listed;
 * sed puts made-up names of the same length in place.
 */
import { createHash } from 'node:crypto'
import { mkdtempSync, symlinkSync, writeFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { formatPathInfo } from '../src/nix/listing/path-info.ts'
import { readClosure } from '../src/nix/listing/read.ts'
import { planReplacement } from '../src/nix/rewrite/replace.ts'
import { contentAddressed } from '../src/nix/store/content-address.ts'
import { formatNix32 } from '../src/nix/store/hash.ts'
import { hostStorePath } from '../src/nix/store/listed-tree.ts'
import { storePolicy } from '../src/nix/store/store-policy.ts'
import { writeTree } from '../src/tree/host-write.ts'
import { scanHost } from '../src/tree/scan.ts'
import { removeTree } from '../test/remove-tree.ts'
import { contest, KILNIX, LARGE, requireClosure } from './contest.ts'

requireClosure()
const name = process.argv[2] ?? 'libc6-2.36-9+deb12u14'
const root = join(LARGE, 'root')
const folder = mkdtempSync(join(process.env['BENCH_DIR'] ?? tmpdir(), 'kilnix-replace-'))
try {
  const closure = await readClosure(LARGE)
  const old = closure.paths.find(({ baseName }) => baseName.slice(33) === name)
  if (old === undefined) throw new Error(`${LARGE}: no ${name}`)
  const { tree, ...made } = await contentAddressed({
    name,
    tree: scanHost(hostStorePath(root, old.path), storePolicy()),
    references: old.references.filter((path) => path !== old.path),
    selfReference: old.baseName,
  })
  const paths = [...closure.paths, made].sort((a, b) => (a.baseName < b.baseName ? -1 : 1))
  const whole = { ...closure, paths }
  writeFileSync(join(folder, 'closure.json'), formatPathInfo(whole))
  const plan = await planReplacement(whole, { replacements: [{ oldPath: old.path, newPath: made.path }] })
  const bytes = plan.rewritten.reduce((sum, one) => sum + (closure.paths.find(({ baseName }) => baseName === one)?.narSize ?? 0), 0)
  console.log(`${plan.rewritten.length} paths are rewritten, ${bytes} bytes`)
  // Only what is rewritten is read, so links do for the store.
  await writeTree({ kind: 'directory', mode: 0o755, uid: 0, gid: 0, mtimeSeconds: 1, entries: [] }, join(folder, 'root'))
  symlinkSync(join(root, 'nix'), join(folder, 'root', 'nix'))
  const fresh = (one: string): string =>
    `${formatNix32(createHash('sha256').update(`new ${one}`).digest().subarray(0, 20))}${one.slice(32)}`
  const changed = new Map([[old.baseName, made.baseName], ...plan.rewritten.map((one) => [one, fresh(one)] as const)])
  const script = ['mkdir $OUT']
  for (const one of plan.rewritten) {
    const references = closure.paths.find(({ baseName }) => baseName === one)?.references.map((path) => path.slice(11)) ?? []
    const rules = [...new Set([...references, one])].filter((reference) => changed.has(reference))
    const text = rules.map((reference) => `s|${reference.replaceAll('.', '\\.')}|${changed.get(reference)}|g`).join('\n')
    writeFileSync(join(folder, `${one}.sed`), `${text}\n`)
    script.push(`nix-store --dump ${root}/nix/store/${one} | sed -f '${folder}/${one}.sed' | nix-store --restore $OUT/${changed.get(one)}`)
  }
  writeFileSync(join(folder, 'sed.sh'), `set -o pipefail\nexport LC_ALL=C\n${script.join('\n')}\n`)
  const input = `--closure ${folder}/closure.json --root ${folder}/root --replace ${old.path}=${made.path} --cutoff none`
  contest(
    `replace ${name}`,
    [
      { name: 'kilnix replace', command: `${KILNIX} replace ${input} -o $OUT` },
      { name: 'kilnix replace --no-verify', command: `${KILNIX} replace ${input} --no-verify -o $OUT` },
      { name: 'dump | sed | restore', command: `bash -eu ${folder}/sed.sh` },
    ],
    Number(process.env['ROUNDS'] ?? 2),
  )
} finally {
  removeTree(join(folder, 'root'))
  await rm(folder, { recursive: true, force: true })
}
