/** Listings of many paths. */

/** Full store paths in the order of their numbers. */
export function numberedPath(index: number): string {
  return `/nix/store/${String(index).padStart(32, '0')}-p${index}`
}

/** A record of a registration. */
export function recordOf(index: number, references: readonly number[]): string {
  const lines = [numberedPath(index), `sha256:${'0'.repeat(52)}`, '96', '', String(references.length), ...references.map(numberedPath)]
  return lines.map((line) => `${line}\n`).join('')
}

/** A registration in which each path refers to three of those shortly before it. */
export function largeRegistration(count: number): string {
  const records: string[] = []
  for (let index = 0; index < count; index++) {
    const references = [1, 2, 3].map((step) => index - 1 - ((index * step * 7919) % 37))
    const distinct = references.filter((to, place) => to >= 0 && references.indexOf(to) === place)
    records.push(recordOf(index, distinct))
  }
  return records.join('')
}
