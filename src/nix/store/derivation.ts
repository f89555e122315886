/**
 * Derivations in a closure (`isoImage.includeSystemBuildDependencies` and the like), as far as the database has to know
 * them: which outputs they have. The files are ATerms (Nix manual, "Derivation ATerm format"); the outputs come first.
 */
import { badInput, ImageError } from '../../errors.ts'
import { contentBytes } from '../../tree/content.ts'
import { resolveInStore } from './resolve.ts'
import { parseStorePath, storePath } from './store-path.ts'
import type { StoreTrees } from './store-trees.ts'

/** Path of a derivation to its outputs: name to store path, in the order of names. */
export type DerivationOutputs = ReadonlyMap<string, ReadonlyMap<string, string>>

/** No derivation is larger, in bytes: Nix itself parses them in memory. */
const DERIVATION_LIMIT = 64 * 1024 ** 2

/** A derivation, or one whose outputs are derivations (experimental feature dynamic-derivations). */
const HEAD = /^(?:Derive\(|DrvWithVersion\("xp-dyn-drv",)\[/
/** Name, path, hash algorithm and hash; none of the four can hold what an ATerm escapes. */
const OUTPUT = /\("([^"\\]*)","([^"\\]*)","[^"\\]*","[^"\\]*"\)([,\]])/y

/**
 * The outputs of all listed derivations, read from `trees`. Throws BAD_INPUT for a file that is no
 * derivation, LIMIT, and what `resolveInStore` throws.
 */
export async function derivationOutputs(trees: StoreTrees): Promise<DerivationOutputs> {
  const outputs = new Map<string, ReadonlyMap<string, string>>()
  for (const { path, baseName } of trees.closure.paths) {
    if (baseName.endsWith('.drv')) outputs.set(path, parseOutputs(await derivationText(path, trees), path))
  }
  return outputs
}

/**
 * The outputs whose paths are known before they are built: all but those of floating content-addressed derivations,
 * which Nix does not register either. `where` names the derivation in messages. Throws BAD_INPUT.
 */
export function parseOutputs(text: string, where: string): ReadonlyMap<string, string> {
  const head = HEAD.exec(text)
  if (head === null) throw badInput(where, 'is no derivation: it does not begin with a list of outputs')
  const outputs: [string, string][] = []
  OUTPUT.lastIndex = head[0].length
  for (let end = ','; end === ','; ) {
    const found = OUTPUT.exec(text)
    if (found === null) throw badInput(where, 'is no derivation: its list of outputs cannot be parsed')
    const [, name = '', path = '', after = ''] = found
    if (path !== '') outputs.push([name, storePath(parseStorePath(path, `${where}: output ${name}`))])
    end = after
  }
  return new Map(outputs)
}

async function derivationText(path: string, trees: StoreTrees): Promise<string> {
  const { size, content } = await resolveInStore(path, trees)
  if (content === undefined) throw badInput(path, 'is not a file')
  if (size > DERIVATION_LIMIT)
    throw new ImageError('LIMIT', `${path}: ${size} bytes, the limit for a derivation is ${DERIVATION_LIMIT}`, { path })
  return Buffer.from(contentBytes({ content, size }, path)).toString('latin1')
}
