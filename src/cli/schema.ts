/** The JSON Schema (2020-12) of config files, made from the option table. */
import { type CommandName, OPTIONS, type Option, optionList } from './options.ts'
import type { JsonSchema } from './values.ts'

export { toplevelSchema } from '../system/assemble/spec.ts'

export const SCHEMA_ID = 'https://unpkg.com/kilnix/docs/kilnix.schema.json'

/** Commands that read a config file. */
const CONFIGURED: readonly CommandName[] = OPTIONS.config.commands

export function configSchema(): JsonSchema {
  const properties: Record<string, JsonSchema> = { $schema: { type: 'string', description: 'Names this schema, for editors' } }
  for (const { key, option } of optionList()) {
    if (option.configurable !== false) properties[key] = propertySchema(option)
  }
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    $id: SCHEMA_ID,
    title: 'Kilnix config file',
    description: 'Options of all commands (--config). Relative paths count from the folder of the file; the command line wins.',
    type: 'object',
    additionalProperties: false,
    properties,
  }
}

function propertySchema(option: Option): JsonSchema {
  const commands = option.commands.filter((command) => CONFIGURED.includes(command))
  const only = commands.length === CONFIGURED.length ? '' : ` (kilnix ${commands.join(', ')} only)`
  const otherwise = option.defaultText === undefined ? '' : `; default: ${option.defaultText}`
  return {
    description: `${option.about}${only}${otherwise}`,
    ...(option.repeatable ? { type: 'array', items: option.type.schema } : option.type.schema),
    ...(option.default === undefined ? {} : { default: option.default }),
  }
}
