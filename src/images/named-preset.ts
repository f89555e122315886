/** Presets by name. */
import { quote } from '../bytes/text.ts'
import { ImageError } from '../errors.ts'

/** Throws USAGE for a name that none has. */
export function namedPreset<P extends { readonly name: string }>(presets: readonly P[], name: string): P {
  const found = presets.find((preset) => preset.name === name)
  if (found !== undefined) return found
  const names = presets.map((preset) => preset.name).join(', ')
  throw new ImageError('USAGE', (option) => `${option('preset')} is ${quote(name)}; there are ${names}`)
}
