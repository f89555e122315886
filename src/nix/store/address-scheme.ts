/**
 * The two ways in which versions of Nix hash a content-addressed path that refers to itself. In both its own hash part counts
 * as zeros. With `positions` the places where it stands are hashed behind the NAR, as `|` and a decimal offset each.
 *
 * Nix lost the positions in 2.17.0 (commit 3ebe1341, issues 9397 and 15837 of NixOS/nix) and has them again since 2.35.0
 * (pull request 15931). A version refuses to import what the other way gave (`ca hash mismatch importing path`), also
 * without signatures. Where a path does not hold its own hash part, both are the same.
 */
export const CONTENT_ADDRESS_SCHEMES = ['positions', 'zeros'] as const

/** `positions`: Nix up to 2.16, and from 2.35 on. `zeros`: Nix 2.17 to 2.34. */
export type ContentAddressScheme = (typeof CONTENT_ADDRESS_SCHEMES)[number]

/** What a caller may ask for; `auto` is that of the newest Nix in the closure, else `positions`. */
export type ContentAddressChoice = ContentAddressScheme | 'auto'

/** Whose they are, in words. */
export const SCHEME_VERSIONS: Readonly<Record<ContentAddressScheme, string>> = {
  positions: 'Nix up to 2.16 and from 2.35 on',
  zeros: 'Nix 2.17 to 2.34',
}

export function versionsOf({
  contentAddressScheme = 'positions',
}: {
  readonly contentAddressScheme: ContentAddressScheme | undefined
}): string {
  return SCHEME_VERSIONS[contentAddressScheme]
}

export function otherScheme(scheme: ContentAddressScheme): ContentAddressScheme {
  return scheme === 'positions' ? 'zeros' : 'positions'
}

/** Of version `major.minor` of Nix. */
export function schemeOfNix(major: number, minor: number): ContentAddressScheme {
  return major === 2 && minor >= 17 && minor < 35 ? 'zeros' : 'positions'
}

export interface ChosenScheme {
  readonly scheme: ContentAddressScheme
  /** Where a closure has versions of Nix that differ in it: what to say of that. */
  readonly warning: string | undefined
}

/** `nix-2.34.8`, and outputs such as `nix-2.34.8-man`; not `nix-diff-1.0` or `nix-store-2.34.8`. */
const NIX_PACKAGE = /^.{32}-nix-([0-9]+)\.([0-9]+)(?![0-9])/

/** What `choice` comes to for a closure of paths with these base names. */
export function chosenScheme(choice: ContentAddressChoice, baseNames: Iterable<string>): ChosenScheme {
  if (choice !== 'auto') return { scheme: choice, warning: undefined }
  let newest: readonly [major: number, minor: number] | undefined
  const versions = new Map<ContentAddressScheme, string>()
  for (const baseName of baseNames) {
    const [, majorText, minorText] = NIX_PACKAGE.exec(baseName) ?? []
    if (majorText === undefined || minorText === undefined) continue
    const [major, minor] = [Number(majorText), Number(minorText)]
    versions.set(schemeOfNix(major, minor), `${major}.${minor}`)
    if (newest === undefined || major > newest[0] || (major === newest[0] && minor > newest[1])) newest = [major, minor]
  }
  const scheme = newest === undefined ? 'positions' : schemeOfNix(...newest)
  const other = versions.get(otherScheme(scheme))
  if (newest === undefined || other === undefined) return { scheme, warning: undefined }
  return {
    scheme,
    warning: `the closure has Nix ${newest.join('.')} and Nix ${other}, which take other content addresses of paths that refer to themselves; new ones have those that Nix ${newest.join('.')} takes ('${scheme}') unless the other is asked for`,
  }
}
