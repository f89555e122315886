/**
 * A store whose files are exchanged while it is read: at every opening of every file that a command takes from it, another
 * file lies there. Each time the command fails or its result is that of the honest store, byte for byte.
 */
import { spawn } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { beforeAll, describe, expect, it } from 'vitest'
import { scratchFolder } from '../nix/scratch.ts'
import { finish } from './support.ts'
import type { SwapReport } from './swap-runner.ts'
import { swapStore } from './swap-store.ts'

const here = (name: string): string => fileURLToPath(new URL(name, import.meta.url))
const scratch = scratchFolder()

/** Each command, and what of the store it takes by itself. */
const COMMANDS: Readonly<Record<string, readonly string[]>> = {
  iso: ['kernel', 'boot.json', 'nixos-version', 'fstab', 'systemd-boot'],
  'iso --replace': ['kernel', 'stage 2'],
  disk: ['kernel', 'boot.json', 'systemd-boot'],
  'disk of unified images': ['kernel', 'initrd', 'stub'],
  'disk of squashfs': ['kernel', 'nixos-version', 'library'],
  zfs: ['kernel', 'fstab'],
  'netboot single': ['kernel', 'initrd'],
  'netboot manifest': ['kernel', 'initrd'],
  'netboot per-path': ['kernel'],
  'netboot single, pieces': ['kernel', 'initrd', 'boot.json'],
  'netboot manifest, pieces': ['kernel', 'initrd', 'boot.json'],
  'netboot per-path, pieces': ['kernel', 'boot.json'],
  'served manifest': ['kernel', 'initrd'],
  'served per-path': ['kernel'],
  replace: ['init', 'boot.json', 'systemd'],
  'replace --whole-store': ['init', 'boot.json', 'kernel'],
  toplevel: ['systemd', 'stage 2'],
}

let reports: Readonly<Record<string, SwapReport>>

beforeAll(async () => {
  const store = await swapStore(scratch())
  for (const name of ['counts', 'out']) mkdirSync(scratch(name))
  writeFileSync(scratch('store.json'), JSON.stringify(store))
  const others = Object.values(store.targets).map(({ path, other }) => [path, other])
  writeFileSync(scratch('targets.json'), JSON.stringify(Object.fromEntries(others)))
  const args = ['--import', here('swap-hook.ts'), here('swap-runner.ts'), JSON.stringify(COMMANDS)]
  const env = { ...process.env, SWAP_FOLDER: scratch() }
  const ended = await finish(spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'], env }))
  expect(ended.stderr).toBe('')
  reports = JSON.parse(ended.stdout.toString()) as Record<string, SwapReport>
}, 300_000)

describe('a store that is swapped while it is read is never believed by', () => {
  it.each(Object.keys(COMMANDS))('%s', (command) => {
    const { honest, openings, believed, errors } = reports[command] as SwapReport
    expect(honest).not.toContain('error')
    for (const [name, count] of Object.entries(openings)) expect(count, name).toBeGreaterThan(0)
    expect(believed).toEqual([])
    expect(Object.keys(errors).filter((error) => !['error HASH_MISMATCH', 'error CHANGED'].includes(error))).toEqual([])
    expect(errors['error HASH_MISMATCH']).toBeGreaterThan(0)
  })
})
