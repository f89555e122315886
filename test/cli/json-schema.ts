/** The few keywords of JSON Schema that our schema uses; any other is an error, so that none goes unchecked. */
type Schema = Readonly<Record<string, unknown>>

const ANNOTATIONS = ['$schema', '$id', '$defs', 'title', 'description', 'default']

/** What is wrong with `value`; empty when it is valid. `root` is the document that `$ref` counts from. */
export function violations(schema: Schema, value: unknown, path = '', root = schema): string[] {
  return Object.entries(schema).flatMap(([keyword, argument]) => keywordViolations(keyword, argument, schema, value, path, root))
}

function keywordViolations(keyword: string, argument: unknown, schema: Schema, value: unknown, path: string, root: Schema): string[] {
  const bad = (holds: boolean): string[] => (holds ? [] : [`${path || '/'}: ${keyword} ${JSON.stringify(argument)}`])
  const isObject = typeof value === 'object' && value !== null && !Array.isArray(value)
  switch (keyword) {
    case 'type':
      return bad(hasType(argument as string, value))
    case 'enum':
      return bad((argument as unknown[]).includes(value))
    case 'anyOf':
      return bad((argument as Schema[]).some((one) => violations(one, value, path, root).length === 0))
    case '$ref':
      return violations(referred(argument as string, root), value, path, root)
    case 'required':
      return bad(!isObject || (argument as string[]).every((key) => key in value))
    case 'pattern':
      return bad(typeof value !== 'string' || new RegExp(argument as string, 'u').test(value))
    case 'minLength':
      return bad(typeof value !== 'string' || value.length >= (argument as number))
    case 'minimum':
      return bad(typeof value !== 'number' || value >= (argument as number))
    case 'maximum':
      return bad(typeof value !== 'number' || value <= (argument as number))
    case 'items':
      return Array.isArray(value) ? value.flatMap((item, index) => violations(argument as Schema, item, `${path}/${index}`, root)) : []
    case 'properties':
      if (!isObject) return []
      return Object.entries(argument as Record<string, Schema>).flatMap(([key, one]) =>
        key in value ? violations(one, (value as Schema)[key], `${path}/${key}`, root) : [],
      )
    case 'additionalProperties':
      if (!isObject) return []
      if (argument === false) return bad(Object.keys(value).every((key) => key in (schema.properties as object)))
      return Object.entries(value).flatMap(([key, one]) => violations(argument as Schema, one, `${path}/${key}`, root))
    default:
      if (ANNOTATIONS.includes(keyword)) return []
      throw new Error(`the validator of the tests does not know the keyword ${keyword}`)
  }
}

/** `#/$defs/name`. */
function referred(reference: string, root: Schema): Schema {
  return reference
    .split('/')
    .slice(1)
    .reduce((at, key) => at[key] as Schema, root)
}

function hasType(type: string, value: unknown): boolean {
  if (type === 'null') return value === null
  if (type === 'array') return Array.isArray(value)
  if (type === 'integer') return Number.isInteger(value)
  if (type === 'object') return typeof value === 'object' && value !== null && !Array.isArray(value)
  return typeof value === type
}
