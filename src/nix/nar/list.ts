/** What is in a NAR as a listing: kinds, sizes and places of contents, as `nix nar ls` has them (`libstore/nar-accessor.cc`). */
import { compareBytes } from '../../bytes/order.ts'
import { printable, quote, utf8 } from '../../bytes/text.ts'
import { ImageError } from '../../errors.ts'
import type { NarEvent } from './read.ts'

export type NarListing =
  | { readonly type: 'directory'; readonly entries: readonly NarListingEntry[] }
  /** `narOffset` is that of the first byte of the content in the NAR, also of an empty one. */
  | { readonly type: 'regular'; readonly size: number; readonly isExecutable: boolean; readonly narOffset: number }
  | { readonly type: 'symlink'; readonly target: Uint8Array }

export interface NarListingEntry {
  /** Bytes. */
  readonly name: Uint8Array
  readonly listing: NarListing
}

/** The listing of a NAR that is read with `readNar` or `readNarFile`. Throws what the events throw. */
export async function narListing(events: AsyncIterable<NarEvent>): Promise<NarListing> {
  const open: NarListingEntry[][] = [[]]
  for await (const event of events) {
    switch (event.kind) {
      case 'directory': {
        const entries: NarListingEntry[] = []
        open.at(-1)?.push({ name: event.name, listing: { type: 'directory', entries } })
        open.push(entries)
        break
      }
      case 'file': {
        const { name, size, isExecutable, contentOffset } = event
        open.at(-1)?.push({ name, listing: { type: 'regular', size, isExecutable, narOffset: contentOffset } })
        break
      }
      case 'symlink':
        open.at(-1)?.push({ name: event.name, listing: { type: 'symlink', target: event.target } })
        break
      case 'end':
        open.pop()
        break
      case 'chunk':
        break
    }
  }
  const root = open[0]?.[0]?.listing
  if (root === undefined) throw new RangeError('the NAR has no root')
  return root
}

/** The listing at `path`, names between slashes; all of it for an empty one. Throws NOT_FOUND; `where` names the NAR. */
export function listingMember(root: NarListing, path: string, where: string): NarListing {
  let listing = root
  for (const name of path.split('/').filter((part) => part !== '')) {
    const bytes = utf8(name)
    const entry = listing.type === 'directory' ? listing.entries.find((candidate) => compareBytes(candidate.name, bytes) === 0) : undefined
    if (entry === undefined) throw new ImageError('NOT_FOUND', `${where}: there is no ${quote(path)} in it`, { path: where })
    listing = entry.listing
  }
  return listing
}

export interface ListingOptions {
  /** Folders with all that is below them. Default false. */
  readonly recursive?: boolean
}

/** What `nix nar ls --json` prints; names that are no UTF-8 have `\xNN` for each byte that is not ASCII. */
export function narListingJson(listing: NarListing, { recursive = false }: ListingOptions = {}): object {
  switch (listing.type) {
    case 'regular': {
      const { size, isExecutable, narOffset } = listing
      return { type: 'regular', size, ...(isExecutable && { executable: true }), narOffset }
    }
    case 'symlink':
      return { type: 'symlink', target: jsonText(listing.target) }
    case 'directory': {
      const entries = listing.entries.map(({ name, listing: inner }) => [
        jsonText(name),
        recursive ? narListingJson(inner, { recursive }) : {},
      ])
      return { type: 'directory', entries: Object.fromEntries(entries) }
    }
  }
}

export interface ListingLinesOptions extends ListingOptions {
  /** Kind, size and link target before and after each name. Default false. */
  readonly long?: boolean
}

/** What `nix nar ls` prints, a line a name; what is listed is called `name` where it is no folder. */
export function* narListingLines(listing: NarListing, name: string, options: ListingLinesOptions = {}): Generator<string> {
  if (listing.type === 'directory') yield* directoryLines(listing, '.', options)
  else yield line(listing, name, options)
}

function* directoryLines(
  { entries }: NarListing & { readonly type: 'directory' },
  path: string,
  options: ListingLinesOptions,
): Generator<string> {
  for (const { name, listing } of entries) {
    const own = `${path}/${printable(name)}`
    yield line(listing, own, options)
    if (options.recursive && listing.type === 'directory') yield* directoryLines(listing, own, options)
  }
}

/** Columns of a size, as Nix has them. */
const SIZE_WIDTH = 20

function line(listing: NarListing, name: string, { long = false }: ListingLinesOptions): string {
  if (!long) return name
  const size = String(listing.type === 'regular' ? listing.size : 0).padStart(SIZE_WIDTH)
  switch (listing.type) {
    case 'directory':
      return `dr-xr-xr-x ${size} ${name}`
    case 'symlink':
      return `lrwxrwxrwx ${size} ${name} -> ${printable(listing.target)}`
    case 'regular':
      return `${listing.isExecutable ? '-r-xr-xr-x' : '-r--r--r--'} ${size} ${name}`
  }
}

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

function jsonText(bytes: Uint8Array): string {
  try {
    return decoder.decode(bytes)
  } catch {
    return printable(bytes)
  }
}
