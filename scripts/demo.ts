/**
 * `npm run demo`: unpacks the small closure that is checked in, builds a bootable ISO of it, and ends with the line
 * that boots it.
 *
 *     node scripts/demo.ts [FOLDER]      (default: out)
 */
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, relative, resolve } from 'node:path'
import { removeStore, unpackSmall } from '../fixtures/unpack.ts'
import { main } from '../src/cli/main.ts'

/** Where distributions keep UEFI firmware for QEMU. */
const FIRMWARE = [
  '/usr/share/ovmf/OVMF.fd',
  '/usr/share/OVMF/OVMF.fd',
  '/usr/share/edk2/x64/OVMF.4m.fd',
  '/usr/share/edk2/ovmf/OVMF_CODE.fd',
]

const folder = resolve(process.argv[2] ?? 'out')
const output = join(folder, 'nixos-demo.iso')
await mkdir(folder, { recursive: true })
const work = await mkdtemp(join(tmpdir(), 'kilnix-demo-'))
try {
  const closure = await unpackSmall(work)
  console.error(`A closure of ${closure.storePaths.length} store paths, made by Nix, lies in ${closure.folder}`)
  const status = await main(['iso', '--closure', closure.folder, '--root', closure.root, '--timeout', '3', '--force', '-o', output])
  if (status !== 0) process.exit(status)
} finally {
  await removeStore(work)
}
const firmware = FIRMWARE.find((path) => existsSync(path)) ?? FIRMWARE[0]
const iso = relative(process.cwd(), output)
if (!FIRMWARE.some((path) => existsSync(path)))
  console.error('\nTo boot it, install QEMU and UEFI firmware (Debian: qemu-system-x86 and ovmf).')
console.error('\nBoot it as a CD; it checks its store, says so, and powers off:\n')
console.log(`qemu-system-x86_64 -m 1024 -cpu max -bios ${firmware} -cdrom ${iso} -nographic`)
