/**
 * Is an ISO from a binary cache on loopback made sooner than by `nix copy` into a store and a build from there? Cold, and with the
 * NARs kept; beside it the build from the folder. Then 2,000 paths of 10 KiB, of which requests have to overlap.
 *
 *     NIX=/path/to/nix node bench/cache.ts [zstd] [xz] [none] [many]
 */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { contest, KILNIX, LARGE, requireClosure } from './contest.ts'

const NIX = process.env['NIX'] ?? 'nix'
const JOBS = process.env['JOBS'] ?? '2'
const ROUNDS = Number(process.env['ROUNDS'] ?? 3)
const SYSLINUX = process.env['SYSLINUX'] ?? '/usr/lib'
const EFI = process.env['EFI'] ?? '/usr/lib/systemd/boot/efi/systemd-bootx64.efi'
const MANY = 2000

await main()

async function main(): Promise<void> {
  requireClosure()
  const toplevel = readFileSync(`${LARGE}/toplevel`, 'utf8').trim()
  const work = mkdtempSync(join(process.env['BENCH_DIR'] ?? tmpdir(), 'kilnix-bench-cache-'))
  try {
    for (const name of process.argv.length > 2 ? process.argv.slice(2) : ['zstd', 'xz', 'none', 'many']) {
      if (name === 'many') await many(work)
      else await isos(name, toplevel, work)
    }
  } finally {
    sh(`chmod -R u+w ${work}`)
    rmSync(work, { recursive: true, force: true })
  }
}

async function isos(compression: string, toplevel: string, work: string): Promise<void> {
  const cache = `${work}/${compression}`
  const key = `${work}/key-${compression}`
  const nix = `NIX_REMOTE= ${NIX} --quiet --extra-experimental-features nix-command`
  sh(`nix-store --generate-binary-cache-key bench-1 ${key} ${key}.pub`)
  sh(`${nix} copy --no-check-sigs --to 'file://${cache}?compression=${compression}&secret-key=${key}' ${toplevel} --store ${LARGE}/root`)
  const publicKey = readFileSync(`${key}.pub`, 'utf8').trim()
  await served(cache, (url) => {
    const image = `--compression zstd:3 --jobs ${JOBS} --syslinux ${SYSLINUX} --efi-boot ${EFI}`
    const ours = (nars: string): string =>
      `${KILNIX} iso --from ${url} --trusted-public-key ${publicKey} --nar-cache ${nars} ${toplevel} ${image} -o $OUT`
    const fromFolder = (root: string): string => `${KILNIX} iso --closure ${LARGE} --root ${root} ${image} -o $OUT`
    sh(ours(`${work}/warm-${compression}`), { OUT: `${work}/first` })
    rmSync(`${work}/first`)
    const store = `${work}/store`
    contest(
      `iso of zstd:3 from a cache of ${compression}`,
      [
        { name: 'kilnix, cold', command: `rm -rf ${work}/cold; ${ours(`${work}/cold`)}` },
        { name: 'kilnix, NARs kept', command: ours(`${work}/warm-${compression}`) },
        { name: 'kilnix, from a folder', command: fromFolder(`${LARGE}/root`) },
        {
          name: 'nix copy, then kilnix',
          command: `if test -e ${store}; then chmod -R u+w ${store}; rm -rf ${store}; fi
            ${nix} copy --option trusted-public-keys ${publicKey} --from ${url} ${toplevel} --to ${store}; ${fromFolder(store)}`,
        },
      ],
      ROUNDS,
    )
  })
}

/** One path refers to all others. */
async function many(work: string): Promise<void> {
  const [{ cacheOf, newKey }, { base, file }] = await Promise.all([
    import('../test/nix/cache/server.ts'),
    import('../test/nix/store-samples.ts'),
  ])
  const names = Array.from({ length: MANY }, (_, index) => base(`small-${index}`))
  const samples = Object.fromEntries(names.map((name) => [name, { tree: file(name.repeat(10240 / name.length)), references: [] }]))
  const top = base('top')
  const key = newKey('bench-1')
  const { files } = await cacheOf({ ...samples, [top]: { tree: file('top'), references: names } }, { key })
  mkdirSync(`${work}/many/nar`, { recursive: true })
  for (const [name, bytes] of files) writeFileSync(`${work}/many/${name}`, bytes)
  await served(`${work}/many`, (url) => {
    const ours = `${KILNIX} squashfs --from ${url} --trusted-public-key ${key.text} --nar-cache ${work}/nars /nix/store/${top} -o $OUT`
    contest(
      `${MANY} paths of 10 KiB`,
      [
        { name: 'cold', command: `rm -rf ${work}/nars; ${ours}` },
        { name: 'NARs kept', command: ours },
      ],
      ROUNDS,
    )
  })
}

async function served(folder: string, run: (url: string) => void): Promise<void> {
  const server = spawn(process.execPath, [fileURLToPath(new URL('cache-server.ts', import.meta.url)), folder], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  try {
    const [url] = (await once(server.stdout, 'data')) as [Buffer]
    run(url.toString().trim())
  } finally {
    server.kill()
  }
}

function sh(command: string, env: Readonly<Record<string, string>> = {}): void {
  const { status } = spawnSync('bash', ['-euc', command], { env: { ...process.env, ...env }, stdio: ['ignore', 'ignore', 'inherit'] })
  if (status !== 0) throw new Error(`${command}\nended with ${status}`)
}
