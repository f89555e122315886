/** Sizes in bytes. */

export const MEBIBYTE = 2 ** 20
export const GIBIBYTE = 2 ** 30
