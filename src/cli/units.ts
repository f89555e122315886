/** Sizes and times for people, in a fixed width where a bar needs it. */

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'] as const

/** `142.1 MiB` */
export function formatBytes(bytes: number): string {
  let value = bytes
  let unit = 0
  // 999.95 would be rounded to 1000.0.
  while (value >= (unit === 0 ? 1024 : 999.95) && unit < UNITS.length - 1) {
    value /= 1024
    unit++
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${UNITS[unit]}`
}

/** `42.1% of the closure`, or `61.7 times the closure`: a share as it is spoken of, where `whole` is more than 0. */
export function formatShare(part: number, whole: number, name: string): string {
  const share = part / whole
  return share < 2 ? `${(share * 100).toFixed(1)}% of ${name}` : `${share.toFixed(1)} times ${name}`
}

/** `0:05`, `12:34`, `1:02:03` */
export function formatDuration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds))
  const two = (value: number): string => String(value).padStart(2, '0')
  const minutes = Math.floor(whole / 60) % 60
  const hours = Math.floor(whole / 3600)
  return hours > 0 ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`
}
