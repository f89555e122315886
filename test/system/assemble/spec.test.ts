/** The schema of specs and their reader agree. */
import { describe, expect, it } from 'vitest'
import { parseToplevelSpec, toplevelSchema } from '../../../src/system/assemble/spec.ts'
import { violations } from '../../cli/json-schema.ts'
import { everythingSpec, type Json } from './parts-support.ts'

const spec = everythingSpec((part) => `/nix/store/${'0'.repeat(32)}-${part}`)
const schema = toplevelSchema()

function isRead(value: unknown): boolean {
  try {
    parseToplevelSpec(Buffer.from(JSON.stringify(value)), 'spec')
    return true
  } catch {
    return false
  }
}

const place = `/nix/store/${'1'.repeat(32)}-x`

describe('the schema of specs', () => {
  it('says of every field what it is', () => {
    const properties = schema.properties as Record<string, { description: string }>
    for (const [name, { description }] of Object.entries(properties)) {
      expect(description.length, name).toBeGreaterThan(9)
      expect(description, name).not.toMatch(/\.$/)
    }
    const { specialisations, $schema, ...others } = properties
    expect((schema.$defs as Record<string, Json>).specialisation?.properties).toEqual(others)
  })

  it.each<[string, Json, boolean]>([
    ['everything', {}, true],
    ['its own name', { $schema: 'x' }, true],
    ['an unknown field', { x: 1 }, false],
    ['a missing field', { sw: undefined }, false],
    ['a path in another place', { sw: '/sw' }, false],
    ['a number as name', { name: 1 }, false],
    ['a ready specialisation', { specialisations: { a: place } }, true],
    ['a specialisation with an unknown field', { specialisations: { a: { ...spec, x: 1 } } }, false],
    ['a specialisation of a specialisation', { specialisations: { a: { ...spec } } }, false],
    ['inhibitors as a file', { switchInhibitors: place }, true],
    ['inhibitors that are no text', { switchInhibitors: { a: 1 } }, false],
    ['files of each kind', { files: { a: { link: 'x' }, b: { text: '' }, c: { file: 'x', substitute: true } } }, true],
    ['a file of two kinds', { files: { a: { link: 'x', text: '' } } }, false],
    ['an assertion without message', { assertions: [{ assertion: true }] }, false],
    ['a stage 1 of another kind', { stage1: 'dracut' }, false],
    ['a fraction as version', { systemdInterfaceVersion: 1.5 }, false],
    ['a configuration as text', { configuration: { content: 'x' } }, true],
    ['an extension that is no object', { extensions: { a: [] } }, false],
  ])('takes what the reader takes: %s', (_what, change, isGood) => {
    const value = JSON.parse(JSON.stringify({ ...spec, ...change })) as Json
    expect({ read: isRead(value), valid: violations(schema, value).length === 0 }).toEqual({ read: isGood, valid: isGood })
  })
})
