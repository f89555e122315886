/**
 * Other people's tools, which judge our bytes. Outside CI a missing tool skips its tests and says why;
 * in CI (`CI=true`) nothing is skipped: the test runs and fails.
 *
 *     describe.skipIf(oracle('unsquashfs').skip)('squashfs by unsquashfs', ...)
 *     run('unsquashfs', ['-ll', file])
 */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'

/** Tool to Debian package, for the reason a skipped test gives. `.ci/run` installs all of them. */
export const PACKAGES: Readonly<Record<string, string>> = {
  unsquashfs: 'squashfs-tools',
  mksquashfs: 'squashfs-tools',
  rdsquashfs: 'squashfs-tools-ng',
  sqfsdiff: 'squashfs-tools-ng',
  xorriso: 'xorriso',
  isoinfo: 'genisoimage',
  checkisomd5: 'isomd5sum',
  implantisomd5: 'isomd5sum',
  'fsck.fat': 'dosfstools',
  mdir: 'mtools',
  mcopy: 'mtools',
  minfo: 'mtools',
  sgdisk: 'gdisk',
  sfdisk: 'fdisk',
  e2fsck: 'e2fsprogs',
  debugfs: 'e2fsprogs',
  dumpe2fs: 'e2fsprogs',
  resize2fs: 'e2fsprogs',
  mke2fs: 'e2fsprogs',
  tune2fs: 'e2fsprogs',
  blkid: 'util-linux',
  'qemu-system-x86_64': 'qemu-system-x86',
  'qemu-img': 'qemu-utils',
  'nix-store': 'nix-bin',
  nix: 'nix-bin',
  'nix-instantiate': 'nix-bin',
  bootctl: 'systemd-boot',
  objdump: 'binutils',
  objcopy: 'binutils',
  python3: 'python3',
  unshare: 'util-linux',
  setpriv: 'util-linux',
  getfattr: 'attr',
  jq: 'jq',
  xz: 'xz-utils',
  zstd: 'zstd',
  lz4: 'lz4',
  'grub-script-check': 'grub-common',
  cpio: 'cpio',
  bsdtar: 'libarchive-tools',
  bsdcpio: 'libarchive-tools',
  busybox: 'busybox-static',
  tar: 'tar',
  gzip: 'gzip',
  curl: 'curl',
}

const SEARCH_PATH = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin']

export interface Oracle {
  readonly skip: boolean
  readonly reason: string
}

/** Whether tests that need all of `tools` are to be skipped, and why. Prints the reason once. */
export function oracle(...tools: readonly string[]): Oracle {
  const missing = tools.filter((tool) => !SEARCH_PATH.some((folder) => existsSync(join(folder, tool))))
  if (missing.length === 0 || process.env.CI === 'true') return { skip: false, reason: '' }
  const reason = `skipped: ${missing.map((tool) => `${tool} is not installed (Debian package ${PACKAGES[tool] ?? tool})`).join(', ')}`
  console.warn(reason)
  return { skip: true, reason }
}

export interface ToolResult {
  readonly status: number
  readonly stdout: Buffer
  /** Of standard output, made when it is asked for: some tools print a whole closure. */
  readonly text: string
  readonly stderr: string
}

/** Run a tool to its end; does not throw on a non-zero status. */
export function run(
  tool: string,
  args: readonly string[],
  options: { cwd?: string; input?: Uint8Array; env?: Record<string, string> } = {},
): ToolResult {
  const result = spawnSync(tool, args, {
    ...options,
    maxBuffer: 1 << 30,
    env: { ...process.env, PATH: SEARCH_PATH.join(delimiter), LC_ALL: 'C', TZ: 'UTC', ...options.env },
  })
  if (result.error) throw new Error(`${tool}: ${result.error.message}`)
  let text: string | undefined
  return {
    status: result.status ?? -1,
    stdout: result.stdout,
    get text() {
      text ??= result.stdout.toString('utf8')
      return text
    },
    stderr: result.stderr.toString('utf8'),
  }
}

/** Characters of a failing tool's output that an error shows. */
const SHOWN_OUTPUT = 4000

/** Run a tool that must succeed; the error of a failing one shows its output. */
export function runOk(tool: string, args: readonly string[], options: Parameters<typeof run>[2] = {}): ToolResult {
  const result = run(tool, args, options)
  if (result.status !== 0) {
    const output = `${result.text.slice(0, SHOWN_OUTPUT)}\n${result.stderr.slice(0, SHOWN_OUTPUT)}`
    throw new Error(`${tool} ${args.join(' ')}: exit status ${result.status}\n${output}`)
  }
  return result
}
