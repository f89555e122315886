/** The label that a live system looks for: the fstab's word, the kernel's, else nixpkgs' default. */
import { describe, expect, it } from 'vitest'
import { defaultVolumeId, fstabLabel, systemVolumeId } from '../../src/images/volume-id.ts'
import type { Bootspec } from '../../src/system/bootspec.ts'

const bootspec = (kernelParams: readonly string[] = [], system = 'x86_64-linux'): Bootspec =>
  ({ system, kernelParams }) as unknown as Bootspec
const nothing = { fstab: undefined, version: undefined, edition: undefined }
/** As nixpkgs writes it for a live system with the systemd stage 1. */
const FSTAB = [
  '# This is a generated file.  Do not edit!',
  '',
  'tmpfs / tmpfs mode=0755 0 0',
  '/dev/disk/by-label/nixos-minimal-26.11-x86_64 /iso iso9660 x-initrd.mount 0 0',
  '/sysroot/iso/nix-store.squashfs /nix/.ro-store squashfs loop 0 0',
].join('\n')

describe('the label in an fstab', () => {
  it.each([
    ['by-label', FSTAB, 'nixos-minimal-26.11-x86_64'],
    ['LABEL=', 'LABEL=disc /iso iso9660', 'disc'],
    ['LABEL="..."', 'LABEL="disc" /iso iso9660', 'disc'],
    ['tabs and blanks around', '  \tLABEL=disc\t \t/iso\tiso9660\t', 'disc'],
    ['a blank, as fstab has it', 'LABEL=my\\040disc /iso iso9660', 'my disc'],
    ['a blank, as udev has it', '/dev/disk/by-label/my\\x20disc /iso iso9660', 'my disc'],
    ['a blank as udev has it, and its backslash as fstab has it', '/dev/disk/by-label/my\\134x20disc /iso iso9660', 'my disc'],
    ['a backslash that is part of a label', 'LABEL=my\\x20disc /iso iso9660', 'my\\x20disc'],
    ['letters of UTF-8', 'LABEL=gr\\303\\274n /iso iso9660', 'grün'],
    ['letters as they are', 'LABEL=grün /iso iso9660', 'grün'],
    ['a comment above', '#LABEL=old /iso iso9660\nLABEL=new /iso iso9660', 'new'],
  ])('%s', (_what, fstab, label) => {
    expect(fstabLabel(fstab, '/iso')).toBe(label)
  })

  it.each([
    ['another mount point', 'LABEL=disc /iso2 iso9660\nLABEL=disc / iso9660'],
    ['the scripted stage 1', '/dev/root /iso iso9660'],
    ['a UUID', 'UUID=1980-01-01-00-00-00-00 /iso iso9660'],
    ['a label of a partition', 'PARTLABEL=disc /iso iso9660'],
    ['nothing', ''],
    ['an empty label', 'LABEL= /iso iso9660'],
  ])('is not given by %s', (_what, fstab) => {
    expect(fstabLabel(fstab, '/iso')).toBeUndefined()
  })
})

describe('the volume id', () => {
  it('is what the fstab says, before what the kernel parameters say, before the default', () => {
    const rooted = bootspec(['quiet', 'root=LABEL=from-the\\x20kernel'])
    const version = '26.11pre-git'
    expect(defaultVolumeId({ ...nothing, bootspec: rooted, fstab: FSTAB, version })).toBe('nixos-minimal-26.11-x86_64')
    expect(defaultVolumeId({ ...nothing, bootspec: rooted, fstab: '/dev/root /iso iso9660', version })).toBe('from-the kernel')
    expect(defaultVolumeId({ ...nothing, bootspec: bootspec(['root=fstab']), fstab: '', version })).toBe('nixos-26.11-x86_64')
    expect(systemVolumeId({ bootspec: rooted, fstab: FSTAB })).toBe('nixos-minimal-26.11-x86_64')
    expect(systemVolumeId({ bootspec: bootspec(), fstab: undefined })).toBeUndefined()
  })

  it.each([
    ['26.11.20261121.abcdef', undefined, 'x86_64-linux', 'nixos-26.11-x86_64'],
    ['26.05', 'minimal', 'aarch64-linux', 'nixos-minimal-26.05-aarch64'],
    ['26.05', '', 'aarch64-linux', 'nixos-26.05-aarch64'],
    ['unstable', undefined, 'riscv64-linux', 'nixos-live-riscv64'],
    [undefined, 'x', 'i686-linux', 'nixos-x-live-i686'],
  ])('by default: version %s, edition %s, %s', (version, edition, system, id) => {
    expect(defaultVolumeId({ ...nothing, bootspec: bootspec([], system), version, edition })).toBe(id)
  })

  it('has the edition that is asked for, whatever the system looks for', () => {
    expect(defaultVolumeId({ ...nothing, bootspec: bootspec(), fstab: FSTAB, edition: 'mine', version: '26.11' })).toBe(
      'nixos-mine-26.11-x86_64',
    )
  })

  it('has 32 characters at most', () => {
    const fits = { ...nothing, bootspec: bootspec(), version: '26.11', edition: 'e'.repeat(13) }
    expect(defaultVolumeId(fits)).toHaveLength(32)
    expect(() => defaultVolumeId({ ...fits, edition: 'e'.repeat(14) })).toThrow(
      expect.objectContaining({
        code: 'LIMIT',
        message: expect.stringContaining('33 characters, an ISO holds 32; give a shorter volumeId'),
      }),
    )
  })
})
