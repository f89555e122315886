/**
 * Firmware and our volumes, in QEMU: the FAT driver of edk2, which most UEFI firmware is made of, lists and
 * compares them by its shell; a BIOS that is told to boot one says why it cannot.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { copyFile, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { type FatOptions, fat, planFat } from '../../../src/filesystems/fat/index.ts'
import type { DirectoryNode } from '../../../src/tree/tree.ts'
import { oracle } from '../../oracles/tools.ts'
import { directory, file, imageBytes, noise, paths, withFolder, writeImageFile } from './support.ts'
import { nested, TREES } from './trees.ts'

const FIRMWARE = '/usr/share/OVMF/OVMF_CODE_4M.fd'
const VARIABLES = '/usr/share/OVMF/OVMF_VARS_4M.fd'
const SECONDS_LIMIT = 200
const skip = oracle('qemu-system-x86_64').skip || (!existsSync(FIRMWARE) && process.env.CI !== 'true')

/** The order of the disks is the order of the shell's FS0, FS1, FS2. */
const VOLUMES: readonly FatOptions[] = [
  { type: 12, label: 'TWELVE' },
  { type: 16, label: 'SIX TEEN' },
  { type: 32, label: 'THIRTYTWO' },
]
const LARGE = 'EFI\\nixos\\0123456789abcdfghijklmnpqrsvwxyz-initrd-linux-6.12.1-initrd.efi'

const SCRIPT = [
  '@echo -off',
  ...VOLUMES.flatMap((_, i) => [`echo KILNIX-VOLUME-${i}`, `vol fs${i}:`, `ls -r -sfo fs${i}:\\`]),
  'echo KILNIX-CONTENT',
  'type fs0:\\collis~1.tex',
  ...[1, 2].map((i) => `comp fs0:\\${LARGE} fs${i}:\\${LARGE}`),
  'echo KILNIX-MUTATED',
  `comp fs0:\\${LARGE} fs3:\\${LARGE}`,
  'ls -sfo fs3:\\loader',
  'echo KILNIX-END',
  'reset -s',
]

const TREE: DirectoryNode = {
  ...directory({}),
  entries: [
    ...(TREES.esp?.entries ?? []),
    ...directory({
      collisions: TREES['alias collisions'] as DirectoryNode,
      'long names': TREES['long names'] as DirectoryNode,
      // The driver's paths have 260 characters at most.
      nested: nested(15),
      many: directory(Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`a name that is not short ${i}`, file(`${i}`)]))),
      'startup.nsh': file(`${SCRIPT.join('\r\n')}\r\n`),
    }).entries,
  ],
}

function flip(bytes: Buffer, at: number): void {
  bytes[at] = (bytes[at] ?? 0) ^ 1
}

/** Runs the firmware until its script turns the machine off; what it wrote to the serial line. */
async function bootShell(folder: string, disks: readonly string[]): Promise<string> {
  const serial = join(folder, 'serial.txt')
  const variables = join(folder, 'variables.fd')
  await copyFile(VARIABLES, variables)
  const args = ['-machine', 'q35,accel=tcg', '-m', '256', '-display', 'none', '-nodefaults', '-net', 'none', '-monitor', 'none']
  args.push(
    '-serial',
    `file:${serial}`,
    '-drive',
    `if=pflash,format=raw,readonly=on,file=${FIRMWARE}`,
    '-drive',
    `if=pflash,format=raw,file=${variables}`,
  )
  for (const disk of disks) args.push('-drive', `format=raw,file=${disk}`)
  const machine = spawn('qemu-system-x86_64', args, { stdio: 'ignore' })
  const timer = setTimeout(() => machine.kill(), SECONDS_LIMIT * 1000)
  await once(machine, 'exit')
  clearTimeout(timer)
  // Without the terminal's cursor movements.
  return (await readFile(serial, 'latin1')).replace(new RegExp(`${String.fromCharCode(27)}\\[[0-9;]*[A-Za-z]`, 'g'), '')
}

describe.skipIf(skip)('fat by the firmware of QEMU', () => {
  it(
    'lists all names and sizes of FAT12, FAT16 and FAT32 and reads the same content',
    async () => {
      await withFolder(async (folder) => {
        const disks = VOLUMES.map((options) => join(folder, `fat${options.type}.img`))
        for (const [i, options] of VOLUMES.entries()) await writeImageFile(fat(TREE, options), disks[i] ?? '')
        const mutated = join(folder, 'mutated.img')
        const bytes = await imageBytes(fat(TREE, VOLUMES[0]))
        flip(bytes, bytes.indexOf(Buffer.from(noise(2_000_000, 3))) + 1_234_567)
        // The checksum of the long entry before the short name of loader.conf.
        flip(bytes, bytes.indexOf('LOADER~1CON') - 32 + 13)
        await writeFile(mutated, bytes)
        disks.push(mutated)
        const text = await bootShell(folder, disks)
        const parts = text.split(/KILNIX-(?:VOLUME-\d|CONTENT|MUTATED|END)\r?\n/)
        expect(parts, text).toHaveLength(VOLUMES.length + 4)
        for (const [i, options] of VOLUMES.entries()) {
          const part = parts[i + 1] ?? ''
          const plan = planFat(TREE, options)
          expect(part).toContain(`Volume ${options.label} (rw)`)
          expect(part).toContain(`${plan.clusterSize} bytes in each allocation unit`)
          const listed = new Set(
            [...part.matchAll(/FileInfo,"FS\d:\\([^"]*)","(\d+)","\d+","([a-z]*)","07:08:10","06.05.2021"/g)].map((match) =>
              match.slice(1, 4).join(' '),
            ),
          )
          const expected = [...paths(TREE)].map(([path, node]) => {
            const name = path.slice(1).replaceAll('/', '\\')
            if (node.kind === 'file') return `${name} ${node.size} a`
            const clusters = plan.directories.find((directory) => directory.path === path)?.clusterCount ?? 0
            return `${name}\\ ${clusters * plan.clusterSize} d`
          })
          for (const line of expected) expect(listed).toContain(line)
        }
        const content = parts[VOLUMES.length + 1] ?? ''
        expect(content.match(/no differences encountered/g)).toHaveLength(2)
        const differing = parts[VOLUMES.length + 2] ?? ''
        expect(differing).not.toContain('no differences encountered')
        expect(differing).toMatch(/difference/i)
        expect(differing).toContain('loader\\LOADER~1.CON"')
        expect(differing).not.toContain('loader.conf"')
      })
    },
    (SECONDS_LIMIT + 10) * 1000,
  )
})

/** Starts SeaBIOS, whose screen is the serial line, until `wanted` shows. */
async function bootBios(folder: string, disk: string, wanted: string): Promise<string> {
  const serial = join(folder, 'bios.txt')
  const args = ['-machine', 'pc,accel=tcg,graphics=off', '-m', '64', '-display', 'none', '-nodefaults', '-net', 'none', '-monitor', 'none']
  const machine = spawn('qemu-system-x86_64', [...args, '-serial', `file:${serial}`, '-drive', `format=raw,file=${disk}`], {
    stdio: 'ignore',
  })
  const ended = once(machine, 'exit')
  let text = ''
  for (let waits = 0; waits < 300 && !text.includes(wanted); waits++) {
    await sleep(100)
    text = await readFile(serial, 'latin1').catch(() => '')
  }
  machine.kill()
  await ended
  return text
}

describe.skipIf(oracle('qemu-system-x86_64').skip)('fat by a BIOS', () => {
  it.each([12, 16, 32] as const)('says on the screen that FAT%i has no boot code', async (type) => {
    await withFolder(async (folder) => {
      const disk = join(folder, 'fat.img')
      await writeImageFile(fat(directory({}), { type }), disk)
      const text = await bootBios(folder, disk, 'go on ...')
      expect(text).toContain('This disk cannot be booted by a BIOS: boot it by UEFI, or remove it.\r\nPress a key to go on ...')
    })
  })
})
