/** The folder of NARs on a disk that runs full, and with several processes at once. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readdirSync } from 'node:fs'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { fetchClosure } from '../../../src/nix/cache/fetch.ts'
import { withOwnDisk } from '../../faults/support.ts'
import { failure, scratchFolder } from '../scratch.ts'
import { base, file } from '../store-samples.ts'
import { CacheServer, cacheOf, newKey } from './server.ts'

const at = scratchFolder()
const key = newKey('test-1')
const server = new CacheServer()
beforeAll(async () => {
  const names = Array.from({ length: 20 }, (_, index) => base(`lib-${index}`))
  const samples = Object.fromEntries(names.map((name, index) => [name, { tree: file(`${index}`.repeat(200_000)), references: [] }]))
  const { files } = await cacheOf({ ...samples, [base('top')]: { tree: file('top'), references: names } }, { key })
  server.use(files)
  await server.listen()
})
afterAll(() => server.close())
const ROOT = `/nix/store/${base('top')}`

it.skipIf(process.getuid?.() !== 0 && process.env.CI !== 'true')('says that its disk is full, and leaves no half NAR', async () => {
  mkdirSync(at('small'))
  await withOwnDisk(at('small'), 1 << 20, async () => {
    const options = { from: [server.url], trustedPublicKeys: [key.text], narCache: at('small/nars'), threads: 'none' } as const
    await failure(() => fetchClosure([ROOT], options), 'WRITE_FAILED', /ENOSPC.*free space there/)
    expect(readdirSync(at('small/nars')).filter((name) => !name.endsWith('.nar'))).toEqual([])
  })
})

it('is shared by processes that fetch the same at once', { timeout: 60_000 }, async () => {
  const module = new URL('../../../src/nix/cache/fetch.ts', import.meta.url).href
  const options = { from: [server.url], trustedPublicKeys: [key.text], narCache: at('shared'), threads: 'none' }
  const script = `
    import { readFileSync } from 'node:fs'
    import { fetchClosure } from ${JSON.stringify(module)}
    const { nars } = await fetchClosure(${JSON.stringify([ROOT])}, ${JSON.stringify(options)})
    for (const { file, size } of nars.values()) if (readFileSync(file).length !== size) throw new Error(file)`
  const children = Array.from({ length: 3 }, () =>
    spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'ignore', 'inherit'] }),
  )
  expect(await Promise.all(children.map(async (child) => (await once(child, 'exit'))[0]))).toEqual([0, 0, 0])
  expect(readdirSync(at('shared')).filter((name) => !name.endsWith('.nar'))).toEqual([])
  expect(readdirSync(at('shared'))).toHaveLength(21)
})
