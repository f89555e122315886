/** Small systems that tests make up: a closure of two paths whose hashes are not checked, the system and all files that it needs. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { ProgressEvent } from '../../src/io/progress.ts'

export const SYSTEM = `/nix/store/${'1'.repeat(32)}-system`
export const PARTS = `/nix/store/${'2'.repeat(32)}-parts`

export interface MadeSystem {
  /** Of bootspec. */
  readonly fields?: Readonly<Record<string, unknown>>
  readonly extensions?: Readonly<Record<string, unknown>>
  /** Fields and extensions by name. */
  readonly specialisations?: Readonly<Record<string, MadeSystem>>
  /** Text by full path, beside kernel and initrd. */
  readonly files?: Readonly<Record<string, string>>
  /** Default true. */
  readonly bootJson?: boolean
}

/** A boot program of no machine that names itself as systemd-boot does, for x86-64. */
export function bootProgram(says = '#### LoaderInfo: systemd-boot 258 ####'): Buffer {
  const bytes = Buffer.alloc(512)
  bytes.write('MZ')
  bytes.writeUInt32LE(64, 0x3c)
  bytes.write('PE\0\0', 64)
  bytes.writeUInt16LE(0x8664, 68)
  bytes.writeUInt16LE(10, 64 + 92)
  bytes.write(says, 200)
  return bytes
}

export const LOADER_PATH = `${SYSTEM}/systemd/lib/systemd/boot/efi/systemd-bootx64.efi`

function documentOf({ fields = {}, extensions = {}, specialisations = {} }: MadeSystem): object {
  const own = { init: `${SYSTEM}/init`, initrd: `${PARTS}/initrd`, kernel: `${PARTS}/kernel`, kernelParams: ['quiet'], label: 'NixOS' }
  return {
    ...extensions,
    'org.nixos.bootspec.v1': { ...own, system: 'x86_64-linux', toplevel: SYSTEM, ...fields },
    'org.nixos.specialisation.v1': Object.fromEntries(Object.entries(specialisations).map(([name, child]) => [name, documentOf(child)])),
  }
}

/** Below `root`, which is new; what is said is pushed to `notes`. */
export function madeSystem(root: string, system: MadeSystem = {}) {
  const files = {
    [`${PARTS}/kernel`]: 'the kernel',
    [`${PARTS}/initrd`]: 'the initrd',
    [`${SYSTEM}/init`]: '',
    [LOADER_PATH]: bootProgram(),
    ...(system.bootJson !== false && { [`${SYSTEM}/boot.json`]: JSON.stringify(documentOf(system)) }),
    ...system.files,
  }
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true })
    writeFileSync(join(root, path), text)
  }
  const entry = (path: string, references: readonly string[]) =>
    `${path}\n${'sha256:'.padEnd(59, '0')}\n96\n\n${references.length}\n${references.map((one) => `${one}\n`).join('')}`
  const closure = join(root, 'registration')
  writeFileSync(closure, `${entry(PARTS, [])}${entry(SYSTEM, [PARTS])}`)
  const notes: string[] = []
  const onProgress = (event: ProgressEvent): void => void (event.kind === 'note' && notes.push(event.message))
  return { options: { closure, root, verify: false, onProgress }, notes }
}
