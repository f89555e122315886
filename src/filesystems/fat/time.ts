/** Dates and times as directory entries hold them (fatgen103, "Date and Time Formats"). */

export interface FatTime {
  /** Bits 15-9 years since 1980, 8-5 month 1-12, 4-0 day 1-31. */
  readonly date: number
  /** Bits 15-11 hours, 10-5 minutes, 4-0 seconds halved. */
  readonly time: number
}

const EARLIEST_SECONDS = Date.UTC(1980, 0, 1) / 1000
const LATEST_SECONDS = Date.UTC(2107, 11, 31, 23, 59, 58) / 1000

/**
 * Seconds since 1970 as a FAT date and time in UTC, rounded down to two seconds. Times outside of 1980 to
 * 2107 become the nearest one that FAT can hold: every file of a Nix store is dated 1970-01-01.
 */
export function fatTime(seconds: number): FatTime {
  const moment = new Date(Math.min(Math.max(seconds, EARLIEST_SECONDS), LATEST_SECONDS) * 1000)
  return {
    date: ((moment.getUTCFullYear() - 1980) << 9) | ((moment.getUTCMonth() + 1) << 5) | moment.getUTCDate(),
    time: (moment.getUTCHours() << 11) | (moment.getUTCMinutes() << 5) | (moment.getUTCSeconds() >> 1),
  }
}
