import { describe, expect, it } from 'vitest'
import {
  attributesProblem,
  deviceProblem,
  entryNameProblem,
  fileProblem,
  ID_MAXIMUM,
  isEntryName,
  linkTargetProblem,
  NAME_MAXIMUM,
  PATH_MAXIMUM,
  rangeProblem,
} from '../../src/tree/limits.ts'

const text = (value: string): Uint8Array => Buffer.from(value)
const codeOf = (problem: { readonly code: string } | undefined): string | undefined => problem?.code

describe('names of entries', () => {
  it.each(['', '.', '..', 'a/b', '/', 'a\0', '\0'])('%j is none', (name) => {
    expect(isEntryName(text(name))).toBe(false)
    expect(entryNameProblem(text(name))).toMatchObject({
      code: 'USAGE',
      message: expect.stringContaining('cannot be the name of an entry'),
    })
  })

  it.each(['a', '...', '..a', '.a', ' ', 'ä', '\n', 'x'.repeat(NAME_MAXIMUM)])('%j is one', (name) => {
    expect(isEntryName(text(name))).toBe(true)
    expect(entryNameProblem(text(name))).toBeUndefined()
  })

  it('are of limited length, where a format has no other', () => {
    const long = text('x'.repeat(NAME_MAXIMUM + 1))
    expect(entryNameProblem(long)).toEqual({
      code: 'LIMIT',
      message: `the name '${'x'.repeat(40)}...' is 256 bytes, Linux allows 255; shorten it`,
    })
    expect(entryNameProblem(long, undefined, Number.POSITIVE_INFINITY)).toBeUndefined()
  })

  it('stand in a directory once', () => {
    expect(entryNameProblem(text('b'), text('a'))).toBeUndefined()
    expect(entryNameProblem(text('b'), text('b'))).toMatchObject({
      code: 'USAGE',
      message: expect.stringContaining("two entries named 'b'"),
    })
  })
})

describe('nodes', () => {
  const attributes = { mode: 0o7777, uid: ID_MAXIMUM, gid: ID_MAXIMUM, mtimeSeconds: 5 }

  it('have link targets that can be followed', () => {
    expect(linkTargetProblem(text('t'.repeat(PATH_MAXIMUM)))).toBeUndefined()
    expect(['', 'a\0b', 't'.repeat(PATH_MAXIMUM + 1)].map((target) => codeOf(linkTargetProblem(text(target))))).toEqual([
      'USAGE',
      'USAGE',
      'LIMIT',
    ])
    expect(linkTargetProblem(text('t'.repeat(5000)), 5000)).toBeUndefined()
  })

  it('have a mode, owners and a time within what there is room for', () => {
    expect(attributesProblem(attributes, 0, 5)).toBeUndefined()
    for (const wrong of [
      { mode: 0o10000 },
      { mode: -1 },
      { uid: ID_MAXIMUM + 1 },
      { gid: 0.5 },
      { mtimeSeconds: 6 },
      { mtimeSeconds: -1 },
    ]) {
      expect(codeOf(attributesProblem({ ...attributes, ...wrong }, 0, 5)), JSON.stringify(wrong)).toBe('LIMIT')
    }
    expect(attributesProblem({ ...attributes, mode: 0o100644 }, 0, 5)?.message).toContain('mode is 0100644;')
    expect(rangeProblem('size', Number.NaN, 0, 5)?.message).toBe('size is NaN; it can be a whole number from 0 to 5')
  })

  it('are devices with numbers of 12 and 20 bits', () => {
    const device = (major: number, minor: number) => deviceProblem({ kind: 'blockDevice', ...attributes, major, minor })
    expect([device(0xfff, 0xfffff), device(0x1000, 0), device(0, 0x100000)].map(codeOf)).toEqual([undefined, 'LIMIT', 'LIMIT'])
  })

  it('are files of the size of their content', () => {
    const file = (size: number) => fileProblem({ kind: 'file', ...attributes, size, content: { kind: 'bytes', bytes: text('four') } }, 4)
    expect([file(4), file(3), file(5)].map(codeOf)).toEqual([undefined, 'USAGE', 'LIMIT'])
    const image = { kind: 'image', image: { size: 4, extents: [] } } as const
    expect(codeOf(fileProblem({ kind: 'file', ...attributes, size: 3, content: image }))).toBe('USAGE')
    expect(fileProblem({ kind: 'file', ...attributes, size: 3, content: { kind: 'hostFile', path: text('/x') } })).toBeUndefined()
  })
})
