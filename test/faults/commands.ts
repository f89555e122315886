/** A run of every command over the small closure, for faults that may meet any of them. */
import { randomBytes } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { CommandName } from '../../src/cli/commands/index.ts'
import { readClosure } from '../../src/nix/listing/read.ts'
import { storePolicy } from '../../src/nix/store/store-policy.ts'
import { scanHost } from '../../src/tree/scan.ts'
import { addTwin } from '../images/twins.ts'
import { cacheOf } from '../nix/cache/server.ts'
import type { Sample } from '../nix/store-samples.ts'
import { specOfToplevel } from '../system/assemble/of-store.ts'
import { kilnix, smallWork, type Work } from './support.ts'

export interface CommandRun {
  readonly args: readonly string[]
  /** File or folder that it writes; undefined where it prints or serves. */
  readonly output?: string
  /** What comes first on standard output is bytes, or a server's address. */
  readonly prints?: 'bytes' | 'address'
}

export interface Commands {
  readonly work: Work
  /** Where outputs go; empty. */
  readonly output: string
  /** For TMPDIR; empty. */
  readonly scratch: string
  /** A NAR of several files. */
  readonly nar: string
  /** Quiet where that makes a difference. */
  readonly runs: Readonly<Record<CommandName, CommandRun>>
}

/** A binary cache of all that is listed, without signatures. */
async function writeCache(listing: string, root: string, into: string): Promise<void> {
  const { paths } = await readClosure(listing)
  const samples = paths.map(({ path, baseName, references }): [string, Sample] => [
    baseName,
    { tree: scanHost(join(root, path), storePolicy()), references: references.map((reference) => basename(reference)) },
  ])
  const { files } = await cacheOf(Object.fromEntries(samples), { compression: 'none' })
  mkdirSync(join(into, 'nar'), { recursive: true })
  for (const [name, bytes] of files) writeFileSync(join(into, name), bytes)
}

export async function everyCommand(): Promise<Commands> {
  const work = await smallWork()
  const { folder, root, toplevel } = work.closure
  const at = (name: string): string => join(work.folder, name)
  const [output, scratch, nar] = [at('output'), at('scratch'), at('sample.nar')]
  for (const place of [output, scratch]) mkdirSync(place)
  const twin = await addTwin({ listing: folder, root, into: work.folder }, 'busybox-static-1.35.0')
  writeFileSync(at('spec.json'), JSON.stringify(specOfToplevel(root, toplevel, work.folder)))
  writeFileSync(at('disk.img'), randomBytes(16 << 20))
  writeFileSync(nar, (await kilnix(['nar', 'dump', join(root, toplevel)])).stdout)

  await writeCache(folder, root, at('cache'))

  const store = ['--root', root, '--quiet']
  const input = ['--closure', folder, ...store, '--jobs', '2']
  const fast = ['--compression', 'none']
  const writes = (name: string, ...args: readonly string[]): CommandRun => ({
    args: [...args, '-o', join(output, name)],
    output: join(output, name),
  })
  const listing = ['--root', root]
  return {
    work,
    output,
    scratch,
    nar,
    runs: {
      iso: writes('image.iso', 'iso', ...input, ...fast),
      squashfs: writes('store.squashfs', 'squashfs', ...input, ...fast),
      initrd: writes('initrd', 'initrd', ...input, ...fast),
      netboot: writes('netboot', 'netboot', ...input, ...fast),
      serve: { args: ['serve', ...input, ...fast, '--style', 'per-path', '--listen', '127.0.0.1:0'], prints: 'address' },
      disk: writes('disk.img', 'disk', ...input),
      zfs: writes('disks', 'zfs', ...input, '--boot-size', '24M', '--root-size', '128M'),
      convert: writes('disk.vmdk', 'convert', at('disk.img'), '--format', 'vmdk-stream', '--quiet'),
      toplevel: writes('system', 'toplevel', at('spec.json'), '--closure', folder, ...store),
      replace: writes('replaced', 'replace', '--closure', twin.listing, ...store, '--replace', twin.pair, '--whole-store'),
      'store fetch': writes(
        'fetched',
        'store',
        'fetch',
        toplevel,
        '--from',
        pathToFileURL(at('cache')).href,
        '--no-check-sigs',
        '--nar-cache',
        at('nars'),
        '--quiet',
      ),
      'nar dump': { args: ['nar', 'dump', join(root, toplevel)], prints: 'bytes' },
      'nar hash': { args: ['nar', 'hash', join(root, toplevel)] },
      'nar restore': { args: ['nar', 'restore', nar, join(output, 'restored')], output: join(output, 'restored') },
      'nar ls': { args: ['nar', 'ls', '-R', nar] },
      'closure show': { args: ['closure', 'show', folder, ...listing] },
      'closure why': { args: ['closure', 'why', folder, 'nixos-system-small-26.05', 'busybox-static-1.35.0', '--precise', ...listing] },
      'closure diff': { args: ['closure', 'diff', folder, twin.listing, ...listing] },
      'closure check': { args: ['closure', 'check', folder, '--quiet', ...listing] },
    },
  }
}
