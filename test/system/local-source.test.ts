/** A closure from the local Nix makes the image that its listing makes, and says which options it goes with. */
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { beforeAll, describe, expect, it } from 'vitest'
import { saveProduct } from '../../src/images/save.ts'
import { storeSquashfs } from '../../src/images/squashfs.ts'
import type { Closure } from '../../src/nix/listing/closure.ts'
import { formatPathInfo } from '../../src/nix/listing/path-info.ts'
import { DATABASE_SCHEMA, nixDatabase } from '../../src/nix/store/database.ts'
import type { StoreInput } from '../../src/system/input.ts'
import { saveStore } from '../../src/system/saved-store.ts'
import { openSource } from '../../src/system/source.ts'
import { failure, scratchFolder } from '../nix/scratch.ts'
import { base, closureFrom, file, folder, link, type Sample } from '../nix/store-samples.ts'

describe('the local Nix as a source', () => {
  const scratch = scratchFolder()
  const app = `/nix/store/${base('app')}`
  const samples: Record<string, Sample> = {
    [base('app')]: { tree: folder({ run: file('run', 0o555), lib: link(`/nix/store/${base('lib')}/x`) }), references: [base('lib')] },
    [base('lib')]: { tree: folder({ x: file('x'.repeat(5000)) }), references: [] },
  }
  let closure: Closure
  beforeAll(async () => {
    closure = await closureFrom(samples)
    const overlay = new Map(Object.entries(samples).map(([baseName, { tree }]) => [baseName, tree]))
    await saveStore({ closure, root: '/none', overlay }, scratch('root'), { paths: 'all' })
    mkdirSync(scratch('root/nix/var/nix/db'), { recursive: true })
    writeFileSync(scratch('root/nix/var/nix/db/db.sqlite'), nixDatabase(closure))
    writeFileSync(scratch('root/nix/var/nix/db/schema'), DATABASE_SCHEMA)
    writeFileSync(scratch('closure.json'), formatPathInfo(closure))
    symlinkSync(app, scratch('result'))
  })

  async function image(name: string, input: StoreInput): Promise<Buffer> {
    await saveProduct(await storeSquashfs(input), scratch(name))
    return readFileSync(scratch(name))
  }

  it('gives the bytes that the listing gives', async () => {
    const listed = await image('listed', { closure: scratch('closure.json'), root: scratch('root') })
    const local = await image('local', { paths: [scratch('result')], store: scratch('root') })
    expect(local.equals(listed)).toBe(true)
  })

  it('says what was asked for, and what was read', async () => {
    const opened = await openSource({ paths: [scratch('result')], store: scratch('root'), root: '/' })
    expect(opened).toMatchObject({ roots: [app], root: scratch('root'), inputs: [scratch('root/nix/var/nix/db/db.sqlite')] })
    await opened.close()
  })

  it('goes with store paths only', async () => {
    const input = { closure: scratch('closure.json'), store: scratch('root') }
    await failure(() => openSource(input), 'USAGE', /store is .*, in which nothing is looked up; give store paths as paths/)
  })
})
