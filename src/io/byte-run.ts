/** Bytes that lie behind each other: of a file, an image, or an extent, from whose beginning `start` counts. */
export interface ByteRun {
  readonly start: number
  readonly length: number
}
