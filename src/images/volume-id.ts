/** The label of a live medium. Its stage 1 finds the medium by it, so the system's own word counts most. */
import { decodedLabelBytes, expectedVolumeId } from '../boot/index.ts'
import { ImageError } from '../errors.ts'
import type { Bootspec } from '../system/bootspec.ts'

export interface VolumeIdSources {
  readonly bootspec: Bootspec
  /** Of the toplevel; undefined where there is none. */
  readonly fstab: string | undefined
  /** The file `nixos-version` of the toplevel. */
  readonly version: string | undefined
  readonly edition: string | undefined
}

/**
 * What the system mounts as `/iso` by its fstab, else what its kernel parameters name as root, else the
 * name that nixpkgs gives: `nixos[-EDITION]-RELEASE-CPU`. Throws LIMIT beyond 32 characters.
 */
export function defaultVolumeId({ bootspec, fstab, version, edition }: VolumeIdSources): string {
  const expected = systemVolumeId({ bootspec, fstab })
  if (expected !== undefined && edition === undefined) return expected
  const release = /^\d+\.\d+/.exec(version ?? '')?.[0] ?? 'live'
  const cpu = bootspec.system.split('-')[0] ?? bootspec.system
  const id = ['nixos', ...(edition ? [edition] : []), release, cpu].join('-')
  if (id.length > 32)
    throw new ImageError(
      'LIMIT',
      (option) => `volume id '${id}' has ${id.length} characters, an ISO holds 32; give a shorter ${option('volumeId')}`,
    )
  return id
}

/** The label by which the system looks for its medium, where it looks by label. */
export function systemVolumeId({ bootspec, fstab }: Pick<VolumeIdSources, 'bootspec' | 'fstab'>): string | undefined {
  return (fstab === undefined ? undefined : fstabLabel(fstab, '/iso')) ?? expectedVolumeId(bootspec)
}

/**
 * The label of what an fstab mounts at `mountPoint`, where it is named by label. fstab(5) writes a blank as
 * `\040`; udev names a link in /dev/disk/by-label with `\x20` for it.
 */
export function fstabLabel(fstab: string, mountPoint: string): string | undefined {
  for (const line of fstab.split('\n')) {
    const [device = '', point] = line.trim().split(/\s+/)
    if (point !== mountPoint || device.startsWith('#')) continue
    const [, by, label] = /^(LABEL=|\/dev\/disk\/by-label\/)"?([^"]+)"?$/.exec(device) ?? []
    if (label === undefined) return undefined
    const field = Buffer.from(label)
      .toString('latin1')
      .replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)))
    const bytes = by === 'LABEL=' ? field : decodedLabelBytes(field)
    return Buffer.from(bytes, 'latin1').toString('utf8')
  }
  return undefined
}
