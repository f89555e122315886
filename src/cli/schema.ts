/** The JSON Schema (2020-12) of config files, made from the rows of the commands that read one. */
import type { Command } from './command.ts'
import { configurable, type Row } from './row.ts'
import type { JsonSchema } from './values.ts'

export { toplevelSchema } from '../system/assemble/spec.ts'

export const SCHEMA_ID = 'https://unpkg.com/kilnix/docs/kilnix.schema.json'

/** A file is of one command: it has the options of that. `$defs` has a schema a command. */
export function configSchema(all: readonly Command[]): JsonSchema {
  const commands = all.filter(({ rows }) => 'config' in rows)
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    $id: SCHEMA_ID,
    title: 'Kilnix config file',
    description: 'Options of one command (--config). Relative paths count from the folder of the file; the command line wins.',
    anyOf: commands.map(({ name }) => ({ $ref: `#/$defs/${name}` })),
    $defs: Object.fromEntries(commands.map((command) => [command.name, commandSchema(command)])),
  }
}

function commandSchema({ name, rows }: Command): JsonSchema {
  const properties = [...configurable(rows)].map(([spelled, { row }]) => [spelled, propertySchema(row)])
  return {
    description: `Options of kilnix ${name}`,
    type: 'object',
    additionalProperties: false,
    properties: { $schema: { type: 'string', description: 'Names this schema, for editors' }, ...Object.fromEntries(properties) },
  }
}

function propertySchema(row: Row): JsonSchema {
  const otherwise = row.defaultText === undefined ? '' : `; default: ${row.defaultText}`
  return {
    description: `${row.about}${otherwise}`,
    ...(row.repeatable ? { type: 'array', items: row.type.schema } : row.type.schema),
    ...(row.default === undefined ? {} : { default: row.default }),
  }
}
