import { mkdirSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { Closure } from '../../../src/nix/listing/closure.ts'
import { derivationOutputs, parseOutputs } from '../../../src/nix/store/derivation.ts'
import { storeTrees } from '../../../src/nix/store/store-trees.ts'
import { failure, scratchFolder } from '../scratch.ts'

const scratch = scratchFolder()
const OUT = '/nix/store/0c1aqs2xfkjb3xzbm7kbq4yrqk5wvz0a-thing'
const DEV = '/nix/store/1d1aqs2xfkjb3xzbm7kbq4yrqk5wvz0b-thing-dev'
const DRV = '/nix/store/2f1aqs2xfkjb3xzbm7kbq4yrqk5wvz0c-thing.drv'
const REST = ',[],[],"x86_64-linux","/bin/sh",["-c","echo \\"([\\""],[("out","x")])'

describe('parseOutputs', () => {
  it('gives names and paths', () => {
    const text = `Derive([("dev","${DEV}","",""),("out","${OUT}","","")]${REST}`
    expect([...parseOutputs(text, DRV)]).toEqual([
      ['dev', DEV],
      ['out', OUT],
    ])
  })

  it('takes fixed outputs and leaves out floating ones', () => {
    const fixed = `Derive([("out","${OUT}","r:sha256","00ff")]${REST}`
    expect(parseOutputs(fixed, DRV).get('out')).toBe(OUT)
    const floating = `DrvWithVersion("xp-dyn-drv",[("out","","r:sha256","")]${REST}`
    expect(parseOutputs(floating, DRV).size).toBe(0)
  })

  it.each([
    ['', /does not begin with a list of outputs/],
    [`Derive(("out","${OUT}","","")${REST}`, /does not begin/],
    [`DrvWithVersion("other",[("out","${OUT}","","")]${REST}`, /does not begin/],
    [`Derive([("out","${OUT}","")]${REST}`, /list of outputs cannot be parsed/],
    [`Derive([("out","${OUT}","","")`, /list of outputs cannot be parsed/],
    [`Derive([("o\\"t","${OUT}","","")]${REST}`, /list of outputs cannot be parsed/],
    [`Derive([]${REST}`, /list of outputs cannot be parsed/],
    ['Derive([("out","/etc/passwd","","")],[])', /output out: '\/etc\/passwd' is not a path below/],
  ])('refuses %j', async (text, message) => {
    await failure(() => parseOutputs(text, DRV), 'BAD_INPUT', message)
  })
})

describe('derivationOutputs', () => {
  const closureOf = (...paths: string[]): Closure => ({
    kind: 'path-list',
    paths: paths.map((path) => ({ path, baseName: path.slice('/nix/store/'.length), references: [] })),
    hashesKnown: false,
    referencesKnown: false,
  })

  it('reads derivations only, and nothing else', async () => {
    const closure = closureOf(OUT, DRV)
    mkdirSync(dirname(scratch(DRV)), { recursive: true })
    writeFileSync(scratch(DRV), `Derive([("out","${OUT}","","")]${REST}`)
    expect([...(await derivationOutputs(storeTrees(closure, { root: scratch() })))].map(([path, outputs]) => [path, [...outputs]])).toEqual(
      [[DRV, [['out', OUT]]]],
    )
    expect((await derivationOutputs(storeTrees(closureOf(OUT), { root: '/nowhere' }))).size).toBe(0)
    await failure(() => derivationOutputs(storeTrees(closure, { root: scratch('none') })), 'NOT_FOUND', /thing\.drv: there is no/)
  })

  it('follows no link out of the store, and takes no folder or monster', async () => {
    const link = '/nix/store/3f1aqs2xfkjb3xzbm7kbq4yrqk5wvz0d-link.drv'
    symlinkSync('/etc/passwd', scratch(link))
    await failure(() => derivationOutputs(storeTrees(closureOf(link), { root: scratch() })), 'NOT_FOUND', /leads to \/etc\/passwd/)
    const folder = '/nix/store/4f1aqs2xfkjb3xzbm7kbq4yrqk5wvz0f-folder.drv'
    mkdirSync(scratch(folder))
    await failure(() => derivationOutputs(storeTrees(closureOf(folder), { root: scratch() })), 'BAD_INPUT', /is not a file/)
    const large = '/nix/store/5f1aqs2xfkjb3xzbm7kbq4yrqk5wvz0g-large.drv'
    writeFileSync(scratch(large), '')
    truncateSync(scratch(large), 64 * 1024 ** 2 + 1)
    await failure(() => derivationOutputs(storeTrees(closureOf(large), { root: scratch() })), 'LIMIT', /the limit for a derivation is/)
  })
})
