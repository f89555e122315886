/** A store with a system that is made of a few bytes, of which every file may be another when it is opened again. */
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { COFF_HEADER_SIZE, DOS_HEADER, PE_HEADER } from '../../src/boot/pe.ts'
import { SECTION_HEADER } from '../../src/boot/uki.ts'
import { formatRegistration } from '../../src/nix/listing/registration.ts'
import { loadClosure } from '../../src/system/store.ts'
import { noise } from '../filesystems/squashfs/support.ts'

export interface SwapStore {
  /** For `--closure` and `--root`. */
  readonly closure: string
  readonly root: string
  readonly toplevel: string
  /** Store paths that can take each other's place; the system refers to the first. */
  readonly library: string
  readonly otherLibrary: string
  /** A spec of a toplevel that is assembled from the store. */
  readonly spec: string
  /** Paths on the host by what they are, and files of the same size that may be taken for them. */
  readonly targets: Readonly<Record<string, { readonly path: string; readonly other: string }>>
}

const place = (digit: string, name: string): string => `/nix/store/${digit.repeat(32)}-${name}`

const LINUX = place('1', 'linux-6.12')
const INITRD = place('2', 'initrd-linux-6.12')
const SYSTEMD = place('3', 'systemd-257')
const ETC = place('4', 'etc')
const LIBRARY = place('5', 'library-1.0')
const OTHER_LIBRARY = place('6', 'library-1.1')
const TOPLEVEL = place('7', 'nixos-system-tiny')

const BOOT_JSON = {
  'org.nixos.bootspec.v1': {
    system: 'x86_64-linux',
    label: 'NixOS tiny',
    kernel: `${LINUX}/bzImage`,
    kernelParams: ['loglevel=4'],
    init: `${TOPLEVEL}/init`,
    initrd: `${INITRD}/initrd`,
    toplevel: TOPLEVEL,
  },
  'org.nixos.specialisation.v1': {},
}

const SPEC = {
  name: 'tiny',
  nixosLabel: '26.11.tiny',
  system: 'x86_64-linux',
  label: 'NixOS tiny',
  kernel: `${LINUX}/bzImage`,
  initrd: `${INITRD}/initrd`,
  stage2: { file: `${ETC}/etc/stage-2-init.sh` },
  systemd: SYSTEMD,
  etc: `${ETC}/etc`,
  sw: LIBRARY,
  activationScript: 'echo @out@\n',
  dryActivationScript: 'echo @out@\n',
}

/** Larger than the blocks by which parts of files are compared. */
const FILES: Readonly<Record<string, Uint8Array | string>> = {
  [`${LINUX}/bzImage`]: noise(150_000, 1),
  [`${INITRD}/initrd`]: Buffer.concat([Buffer.from('28b52ffd', 'hex'), noise(140_000, 2)]),
  [`${SYSTEMD}/lib/systemd/boot/efi/systemd-bootx64.efi`]: program('#### LoaderInfo: systemd-boot 257 ####', 70_000),
  [`${SYSTEMD}/lib/systemd/boot/efi/linuxx64.efi.stub`]: program('a stub', 0),
  [`${SYSTEMD}/lib/systemd/systemd`]: `\x7fELF ${LIBRARY}\n`,
  [`${ETC}/etc/fstab`]: '/dev/disk/by-label/nixos / ext4 defaults 0 1\n',
  [`${ETC}/etc/stage-2-init.sh`]: `#!/bin/sh\nsystemConfig=@systemConfig@\n`,
  [`${LIBRARY}/lib/library.so`]: Buffer.concat([noise(3000, 3), Buffer.from(LIBRARY)]),
  [`${OTHER_LIBRARY}/lib/library.so`]: Buffer.concat([noise(3000, 4), Buffer.from(OTHER_LIBRARY)]),
  [`${TOPLEVEL}/boot.json`]: JSON.stringify(BOOT_JSON),
  [`${TOPLEVEL}/nixos-version`]: '26.11.tiny',
  [`${TOPLEVEL}/init`]: `#!/bin/sh\nexec ${LIBRARY}/lib/library.so ${TOPLEVEL}\n`,
}

const LINKS: Readonly<Record<string, string>> = {
  [`${TOPLEVEL}/kernel`]: `${LINUX}/bzImage`,
  [`${TOPLEVEL}/initrd`]: `${INITRD}/initrd`,
  [`${TOPLEVEL}/systemd`]: SYSTEMD,
  [`${TOPLEVEL}/etc`]: `${ETC}/etc`,
}

const TARGETS: Readonly<Record<string, string>> = {
  kernel: `${LINUX}/bzImage`,
  initrd: `${INITRD}/initrd`,
  'boot.json': `${TOPLEVEL}/boot.json`,
  'nixos-version': `${TOPLEVEL}/nixos-version`,
  init: `${TOPLEVEL}/init`,
  fstab: `${ETC}/etc/fstab`,
  'stage 2': `${ETC}/etc/stage-2-init.sh`,
  'systemd-boot': `${SYSTEMD}/lib/systemd/boot/efi/systemd-bootx64.efi`,
  stub: `${SYSTEMD}/lib/systemd/boot/efi/linuxx64.efi.stub`,
  systemd: `${SYSTEMD}/lib/systemd/systemd`,
  library: `${LIBRARY}/lib/library.so`,
}

/** Another that is read as easily: one number or letter of a text, or one bit in the middle. */
function otherContent(name: string): Buffer {
  const bytes = Buffer.from(FILES[TARGETS[name] ?? ''] ?? '')
  const text = bytes.toString('latin1').replace('loglevel=4', 'loglevel=7').replace('26.11.tiny', '26.05.tiny')
  if (text !== bytes.toString('latin1')) return Buffer.from(text, 'latin1')
  const at = name === 'fstab' ? bytes.indexOf('nixos') : name === 'stage 2' || name === 'init' ? 5 : bytes.length >> 1
  bytes[at] = (bytes[at] ?? 0) ^ 1
  return bytes
}

/** Write it all below `folder`. */
export async function swapStore(folder: string): Promise<SwapStore> {
  const root = join(folder, 'root')
  const write = (path: string, bytes: Uint8Array | string): string => {
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, bytes, { mode: 0o755 })
    return path
  }
  for (const [path, bytes] of Object.entries(FILES)) write(join(root, path), bytes)
  for (const [path, target] of Object.entries(LINKS)) symlinkSync(target, join(root, path))
  const list = [LINUX, INITRD, SYSTEMD, ETC, LIBRARY, OTHER_LIBRARY, TOPLEVEL].map((path) => `${path}\n`)
  const { closure } = await loadClosure({ closure: write(join(folder, 'list'), list.join('')), root })
  const targets = Object.entries(TARGETS).map(([name, path]) => {
    const other = write(join(folder, 'others', encodeURIComponent(name)), otherContent(name))
    return [name, { path: join(root, path), other }] as const
  })
  for (const [name, { path, other }] of targets) {
    if (readFileSync(path).length !== readFileSync(other).length) throw new Error(`${name}: the other file has another size`)
  }
  return {
    closure: write(join(folder, 'registration'), formatRegistration(closure)),
    root,
    toplevel: TOPLEVEL,
    library: LIBRARY,
    otherLibrary: OTHER_LIBRARY,
    spec: write(join(folder, 'spec.json'), JSON.stringify(SPEC)),
    targets: Object.fromEntries(targets),
  }
}

/** An EFI program: headers, one page of code, and `text`. */
function program(text: string, size: number): Buffer {
  const headersSize = 1024
  const optionalHeaderSize = 112 + 16 * 8
  const bytes = Buffer.alloc(headersSize + 512)
  DOS_HEADER.write(bytes, 0, { magic: Buffer.from('MZ'), peOffset: 64 })
  PE_HEADER.write(bytes, 64, {
    signature: Buffer.from('PE\0\0'),
    machine: 0x8664,
    sectionCount: 1,
    symbolTableOffset: 0,
    symbolCount: 0,
    optionalHeaderSize,
    optionalMagic: 0x20b,
    initializedDataSize: 0,
    sectionAlignment: 512,
    fileAlignment: 512,
    imageSize: 0x1300,
    headersSize,
    checkSum: 0,
    subsystem: 10,
  })
  const optional = 64 + COFF_HEADER_SIZE
  bytes.writeUInt32LE(16, optional + 112 - 4)
  SECTION_HEADER.write(bytes, optional + optionalHeaderSize, {
    name: Buffer.from('.text'),
    virtualSize: 0x200,
    virtualAddress: 0x1000,
    rawSize: 512,
    rawOffset: headersSize,
    characteristics: 0x6000_0020,
  })
  bytes.fill(text, headersSize, headersSize + 512)
  return Buffer.concat([bytes, noise(size, 5)])
}
