import type { MenuBootspec } from '../../src/boot/index.ts'

const HASH = [
  '0c1aqs2xfkjb3xzbm7kbq4yrqk5wvz0a',
  '1d1aqs2xfkjb3xzbm7kbq4yrqk5wvz0b',
  '2e1aqs2xfkjb3xzbm7kbq4yrqk5wvz0c',
  '3f1aqs2xfkjb3xzbm7kbq4yrqk5wvz0d',
]

export const KERNEL = `/nix/store/${HASH[0]}-linux-6.12.40/bzImage`
export const INITRD = `/nix/store/${HASH[1]}-initrd-linux-6.12.40/initrd`
export const INITRD_2 = `/nix/store/${HASH[2]}-initrd-recovery/initrd`
export const TOPLEVEL = `/nix/store/${HASH[3]}-nixos-system-live`

export interface BootspecChanges extends Partial<Omit<MenuBootspec, 'specialisations'>> {
  readonly specialisations?: Record<string, MenuBootspec>
}

export function bootspec(changes: BootspecChanges = {}): MenuBootspec {
  return {
    label: 'NixOS 26.11 (Linux 6.12.40)',
    kernel: KERNEL,
    initrd: INITRD,
    init: `${TOPLEVEL}/init`,
    kernelParams: ['loglevel=4'],
    ...changes,
    specialisations: new Map(Object.entries(changes.specialisations ?? {})),
  }
}

/** A system with two specialisations, one of them in the other. */
export const NESTED = bootspec({
  specialisations: {
    quiet: bootspec({ kernelParams: ['quiet', 'live.note="two words"'] }),
    'No GUI': bootspec({
      initrd: INITRD_2,
      label: "Bob's NixOS 50% $HOME",
      specialisations: { deeper: bootspec({ label: 'Deeper' }) },
    }),
  },
})
