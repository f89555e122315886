/** What the commands over closures take without a name: listings and store paths, and where these are looked up. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { beforeAll, describe, expect, it } from 'vitest'
import { type LookUp, sourceInput, sourceInputs } from '../../src/cli/closure-answer.ts'
import type { Run } from '../../src/cli/command.ts'
import { failure, scratchFolder } from '../nix/scratch.ts'
import { base } from '../nix/store-samples.ts'

const run = { signal: new AbortController().signal, progress: { listener: () => undefined } } as unknown as Run
const NOTHING: LookUp = { root: '/', caseHack: false, checkSignatures: true }
const app = `/nix/store/${base('app')}`
const scratch = scratchFolder()
beforeAll(() => {
  writeFileSync(scratch('closure.json'), '{}')
  mkdirSync(scratch('info'))
  writeFileSync(scratch('info/store-paths'), '')
})
const listings = (): [string, string] => [scratch('closure.json'), scratch('info')]

describe('what is given without a name', () => {
  it('is a listing, or a store path', async () => {
    for (const listing of listings()) expect(await sourceInput(listing, NOTHING, run)).toMatchObject({ closure: listing })
    expect(await sourceInput('-', NOTHING, run)).toMatchObject({ closure: '-', stdin: expect.anything() })
    const path = await sourceInput(app, NOTHING, run)
    expect(path).toMatchObject({ paths: [app], environment: expect.anything() })
    expect(path).not.toHaveProperty('closure')
  })

  it('is looked up where it is said, a link that leads nowhere and the place of its files as well', async () => {
    for (const given of [app, scratch('result'), scratch(`root${app}`)])
      expect(await sourceInput(given, { ...NOTHING, store: scratch('root') }, run)).toMatchObject({
        paths: [given],
        store: scratch('root'),
      })
    const from = ['file:///cache']
    const fetched = await sourceInput(app, { ...NOTHING, from, checkSignatures: false, narCacheSize: 5, redirectHosts: ['x'] }, run)
    expect(fetched).toMatchObject({
      paths: [app],
      from,
      checkSignatures: false,
      narCacheSize: 5,
      redirectHosts: ['x'],
      narCache: expect.any(String),
    })
  })

  it('may be a listing and a store path, of which the second is looked up', async () => {
    const [listing] = listings()
    const [old, changed] = await sourceInputs([listing, app], { ...NOTHING, store: '/store' }, run)
    expect(old).toMatchObject({ closure: listing })
    expect(old).not.toHaveProperty('store')
    expect(changed).toMatchObject({ paths: [app], store: '/store' })
  })

  it.each<[Partial<LookUp>, RegExp]>([
    [{ store: '/store' }, /^--store is of store paths, and .*closure\.json and .*info are listings$/],
    [{ from: ['file:///cache'] }, /^--from is of store paths/],
    [{ trustedPublicKeys: ['a:b'] }, /^--trusted-public-key is of store paths/],
    [{ checkSignatures: false }, /^--no-check-sigs is of store paths/],
  ])('is an error where only listings are there, with %j', async (lookUp, message) => {
    await failure(() => sourceInputs(listings(), { ...NOTHING, ...lookUp }, run), 'USAGE', message)
  })
})
