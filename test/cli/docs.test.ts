import { existsSync, readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { EXAMPLE_CONFIG, generatedDocs } from '../../scripts/docs.ts'
import { COMMAND_NAMES } from '../../src/cli/commands.ts'
import { commandHelp, generalHelp } from '../../src/cli/help.ts'
import { OPTIONS, optionList, writtenName } from '../../src/cli/options.ts'
import { configSchema } from '../../src/cli/schema.ts'
import { violations } from './json-schema.ts'

describe('help', () => {
  test.each(COMMAND_NAMES)('kilnix %s lists every option once, in 100 columns', (command) => {
    const help = commandHelp(command)
    for (const { name, option } of optionList(command)) {
      const named = `${option.short ? `-${option.short}, ` : ''}${writtenName(name, option)}`
      const written = option.positional ? option.type.placeholder : named
      expect(
        help.split('\n').filter((line) => line.trimStart().startsWith(`${written} `)),
        name,
      ).toHaveLength(1)
    }
    for (const { name } of optionList()) if (!optionList(command).some((row) => row.name === name)) expect(help).not.toContain(`--${name} `)
    const [options = ''] = help.split('Examples:')
    for (const line of options.split('\n')) expect(line.length).toBeLessThanOrEqual(100)
  })

  test('defaults and requirements are said', () => {
    const help = commandHelp('iso').replace(/\s+/g, ' ')
    expect(help).toContain('(default: 1M)')
    expect(help).toContain('(default: " Installer")')
    expect(help).toContain('(required)')
    expect(help).toContain('(repeatable)')
    expect(help).toContain('--no-verify Do not compare')
  })

  test('the general help names every command', () => {
    for (const command of [...COMMAND_NAMES, 'schema', 'help', '--version']) expect(generalHelp()).toContain(`kilnix ${command}`)
  })
})

describe('schema', () => {
  const schema = configSchema()

  test('is 2020-12, closed, and has every option that a config file may have', () => {
    expect(schema).toMatchObject({ $schema: 'https://json-schema.org/draft/2020-12/schema', type: 'object', additionalProperties: false })
    const expected = Object.entries(OPTIONS).filter(([, option]) => !('configurable' in option))
    expect(Object.keys(schema.properties as object)).toEqual(['$schema', ...expected.map(([key]) => key)])
    for (const property of Object.values(schema.properties as Record<string, { description: string }>)) {
      expect(property.description).toMatch(/^[A-Z].*[^.]$/)
    }
  })

  test('every default is valid', () => {
    for (const [key, property] of Object.entries(schema.properties as Record<string, { default?: unknown }>)) {
      if (property.default !== undefined) expect(violations(property, property.default), key).toEqual([])
    }
  })

  test.each([[{}], [EXAMPLE_CONFIG], [{ blockSize: 4096, mtime: 1, timeout: 3, verify: false, compression: 'lz4:hc', add: ['a\\=b=c'] }]])(
    'accepts %j',
    (value) => {
      expect(violations(schema, value)).toEqual([])
    },
  )

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
