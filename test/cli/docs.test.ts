import { existsSync, readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { EXAMPLE_CONFIG, generatedDocs } from '../../scripts/docs.ts'
import { ABOUT_NAMES, COMMAND_NAMES, loadCommands } from '../../src/cli/commands/index.ts'
import { commandHelp, generalHelp } from '../../src/cli/help.ts'
import { type NamedRow, rowList, writtenName } from '../../src/cli/row.ts'
import { HELP } from '../../src/cli/rows.ts'
import { configSchema } from '../../src/cli/schema.ts'
import { violations } from './json-schema.ts'

const COMMANDS = await loadCommands()
const ABOUT = await loadCommands(ABOUT_NAMES)

const commandNamed = (name: string) => {
  const command = COMMANDS.find((one) => one.name === name)
  if (command === undefined) throw new Error(name)
  return command
}

const rowsOf = (name: string): NamedRow[] => rowList({ ...commandNamed(name).rows, help: HELP })

describe('help', () => {
  test.each(COMMAND_NAMES)('kilnix %s lists every option once, in 100 columns', (name) => {
    const help = commandHelp(commandNamed(name))
    for (const named of rowsOf(name)) {
      const { short, positional, type } = named.row
      const written = positional ? type.placeholder : `${short ? `-${short}, ` : ''}${writtenName(named)}`
      expect(
        help.split('\n').filter((line) => line.trimStart().startsWith(`${written} `)),
        named.flag,
      ).toHaveLength(1)
    }
    const own = new Set(rowsOf(name).map(({ flag }) => flag))
    for (const { flag } of COMMAND_NAMES.flatMap(rowsOf)) if (!own.has(flag)) expect(help).not.toContain(`--${flag} `)
    const [options = ''] = help.split('Examples:')
    for (const line of options.split('\n')) expect(line.length).toBeLessThanOrEqual(100)
  })

  test('defaults and requirements are said', () => {
    const help = commandHelp(commandNamed('iso')).replace(/\s+/g, ' ')
    expect(help).toContain('(default: 1M)')
    expect(help).toContain('(default: " Installer")')
    expect(help).toContain('(required)')
    expect(help).toContain('(repeatable)')
    expect(help).toContain('--no-verify Do not compare')
  })

  test.each(ABOUT.map((command) => [command.name, command] as const))('kilnix %s has what it takes', (_, command) => {
    const help = commandHelp(command)
    for (const { flag, row } of rowList(command.rows))
      expect(help).toContain(row.positional ? `  ${row.type.placeholder} ` : `  --${flag} `)
    expect(command.rows).not.toHaveProperty('config')
  })

  test('the general help names every command', () => {
    const all = generalHelp([...COMMANDS, ...ABOUT])
    for (const command of [...COMMAND_NAMES, ...ABOUT_NAMES, '--version']) expect(all).toContain(`kilnix ${command}`)
  })
})

describe('schema', () => {
  const schema = configSchema(COMMANDS)
  const definitions = schema.$defs as Record<string, { properties: Record<string, { description: string; default?: unknown }> }>

  test('is 2020-12, with a closed definition a command, of every option that a config file may have', () => {
    expect(schema).toMatchObject({ $schema: 'https://json-schema.org/draft/2020-12/schema' })
    const configured = COMMANDS.filter(({ rows }) => 'config' in rows).map(({ name }) => name)
    expect(configured).toEqual(['iso', 'squashfs', 'initrd', 'netboot', 'serve', 'disk', 'zfs', 'convert'])
    expect(Object.keys(definitions)).toEqual(configured)
    expect(schema.anyOf).toEqual(configured.map((name) => ({ $ref: `#/$defs/${name}` })))
    for (const name of configured) {
      expect(definitions[name]).toMatchObject({ type: 'object', additionalProperties: false })
      const expected = rowList(commandNamed(name).rows).filter(({ row }) => row.configurable !== false)
      const properties = definitions[name]?.properties ?? {}
      const camelCase = (flag: string): string => flag.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase())
      expect(Object.keys(properties)).toEqual(['$schema', ...expected.map(({ flag }) => camelCase(flag))])
      for (const property of Object.values(properties)) expect(property.description).toMatch(/^[A-Z].*[^.]$/)
    }
  })

  test('an option is described as the command has it', () => {
    const compression = (name: string) => definitions[name]?.properties.compression?.description
    expect(compression('iso')).toBe(
      'Codec and level of the store: zstd[:1-22], gzip[:1-9], xz[:0-9], lz4, lz4:hc or none; default: zstd:19',
    )
    expect(compression('initrd')).toMatch(/^Codec and level of the archive: .*; default: zstd:10$/)
    expect(compression('disk')).toMatch(/^Codec and level of compressed containers: .*; default: gzip:6$/)
    expect(definitions.zfs?.properties.layout).toMatchObject({ enum: ['two-disk', 'single-disk'] })
    expect(definitions.disk?.properties.layout).toMatchObject({ enum: expect.arrayContaining(['efi', 'legacy']) })
  })

  test('every default is valid', () => {
    for (const [name, { properties }] of Object.entries(definitions)) {
      for (const [key, property] of Object.entries(properties)) {
        if (property.default !== undefined) expect(violations(property, property.default), `${name} ${key}`).toEqual([])
      }
    }
  })

  test.each([
    [{}],
    [EXAMPLE_CONFIG],
    [{ blockSize: 4096, mtime: 1, timeout: 3, verify: false, compression: 'lz4:hc', add: ['a\\=b=c'] }],
    [{ preset: 'amazon-zfs' }],
    [{ preset: 'amazon', layout: 'efi' }],
  ])('accepts %j', (value) => {
    expect(violations(schema, value)).toEqual([])
  })

  test.each([
    [{ volumeID: 'x' }],
    [{ dryRun: true }],
    [{ closure: '' }],
    [{ blockSize: 'big' }],
    [{ blockSize: 12 }],
    [{ jobs: 0 }],
    [{ jobs: 1.5 }],
    [{ timeout: 'none' }],
    [{ timeout: -1 }],
    [{ hybrid: 'mbr' }],
    [{ compression: 'zip' }],
    [{ kernelParam: 'a' }],
    [{ add: ['x'] }],
    [{ mtime: 'now' }],
    [{ force: 1 }],
    // Each belongs to a command of its own.
    [{ volumeId: 'x', style: 'single' }],
    [{ preset: 'amazon-zfs', layout: 'efi' }],
    [{ pool: 'tank', format: 'raw.tar.gz' }],
    [[]],
  ])('refuses %j', (value) => {
    expect(violations(schema, value)).not.toEqual([])
  })
})

describe('generated files', () => {
  test.each([...generatedDocs()])('%s is up to date (node scripts/docs.ts)', (file, content) => {
    expect(readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8')).toBe(content)
  })
})

describe('SECURITY.md', () => {
  test('names tests that are there', () => {
    const root = new URL('../../', import.meta.url)
    const named = [...readFileSync(new URL('SECURITY.md', root), 'utf8').matchAll(/`(test\/[^`]+)`/g)].map(([, path = '']) => path)
    expect(named.length).toBeGreaterThan(10)
    expect(named.filter((path) => !existsSync(new URL(path, root)))).toEqual([])
  })
})
