/** How menus of live images look, and where they are shown beside the screen. */
import { ImageError } from '../errors.ts'

export const MENU_STYLES = ['graphical', 'text'] as const

/** `graphical`: with what the boot loader has for it, else in text. */
export type MenuStyle = (typeof MENU_STYLES)[number]

/** A serial port of a PC, as boot loaders count them. */
export interface SerialConsole {
  /** 0 for COM1, ttyS0. */
  readonly unit: number
  /** Bits a second; 8 data bits, no parity. */
  readonly speed: number
}

/** nixpkgs' (iso-image.nix), and the kernel's in its examples (Documentation/admin-guide/serial-console.rst has 9600). */
export const SERIAL_SPEED = 115200

/** COM1 to COM4, whose addresses boot loaders know (syslinux, core/serirq.inc; GRUB, grub-core/term/ns8250.c). */
const UNITS = /^ttyS([0-3])(?:,([0-9]+))?$/

/** All that GRUB has (grub-core/term/ns8250.c, serial_get_divisor); by others it would leave the port alone. */
const SPEEDS: readonly number[] = [2400, 4800, 9600, 19200, 38400, 57600, 115200]

/** `ttyS0` or `ttyS0,115200`, as the kernel's `console=` has it. Throws USAGE. */
export function serialConsole(text: string): SerialConsole {
  const [, unit, speed] = UNITS.exec(text) ?? []
  if (unit !== undefined) {
    const known = speed === undefined ? SERIAL_SPEED : SPEEDS.find((one) => String(one) === speed)
    if (known !== undefined) return { unit: Number(unit), speed: known }
    throw new ImageError('USAGE', (option) => `${option('serialConsole')} is '${text}'; boot menus know the speeds ${SPEEDS.join(', ')}`)
  }
  throw new ImageError(
    'USAGE',
    (option) =>
      `${option('serialConsole')} is '${text}'; ttyS0 to ttyS3 are what boot menus know, with a speed such as ttyS0,115200; for the console of the kernel alone there is ${option('kernelParams')}`,
  )
}

/** Kernel parameters for messages on the screen and on the port, and a shell on the port. */
export function consoleParameters({ unit, speed }: SerialConsole): string[] {
  return ['console=tty0', `console=ttyS${unit},${speed}n8`]
}
