/**
 * An ISO with a system that no Nix has built: the live system's toplevel, assembled from a spec while the image is made. It boots,
 * and the real Nix in it finds the system whole, and a sample of the paths that are in every ISO.
 */
import { readdirSync } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { readClosure } from '../../src/nix/listing/read.ts'
import { formatRegistration } from '../../src/nix/listing/registration.ts'
import { oracle } from '../oracles/tools.ts'
import { specOfToplevel } from '../system/assemble/of-store.ts'
import type { Json } from '../system/assemble/parts-support.ts'
import { generatedClosure, storePaths, toplevelOf } from './closures.ts'
import { kilnix } from './kilnix.ts'
import { bootImage } from './qemu.ts'

const live = generatedClosure('live')
const skip = live.skip || oracle('qemu-system-x86_64').skip
const MINUTES = 60_000

describe.skipIf(skip)('an ISO of a system from a spec', () => {
  let work: string
  const at = (name: string): string => join(work, name)

  beforeAll(async () => {
    work = await mkdtemp(join(tmpdir(), 'kilnix-toplevel-'))
    // The parts: all but the system that Nix has built of them.
    const original = toplevelOf(live.folder)
    const closure = await readClosure(live.folder)
    const parts = { ...closure, paths: closure.paths.filter(({ path }) => path !== original) }
    await writeFile(at('parts'), formatRegistration(parts))
    await writeFile(at('spec.json'), JSON.stringify(await selfContained(specOfToplevel(live.root, original, work), original)))
    const input = ['--closure', at('parts'), '--root', live.root, '--toplevel-spec', at('spec.json')]
    await kilnix('iso', ...input, '--syslinux', '/usr/lib', '--compression', 'zstd:3', '--timeout', '1', '-o', at('system.iso'))
  }, 10 * MINUTES)
  afterAll(async () => {
    await rm(work, { recursive: true, force: true })
  })

  /** The manifest has the hashes of the system's own files, which hold its path: a path that comes of hashes cannot be in there. */
  async function selfContained(spec: Json, original: string): Promise<Json> {
    const manifests = readdirSync(work).filter((file) => /-live-manifest(-sample)?$/.test(file))
    expect(manifests).toHaveLength(2)
    for (const name of manifests) {
      const manifest = (await readFile(at(name), 'latin1')).split('\n').filter((line) => !line.includes('@out@'))
      await writeFile(at(name), manifest.join('\n'), 'latin1')
    }
    const stage2 = String(spec.stage2).replaceAll('" $toplevel/live/manifest"', '"$toplevel"')
    expect(stage2).not.toBe(spec.stage2)
    expect(stage2).not.toContain(original)
    return { ...spec, stage2 }
  }

  it(
    'boots and is whole',
    async () => {
      const result = await bootImage(at('system.iso'), {
        firmware: 'uefi',
        media: 'cdrom',
        timeoutSeconds: 400,
        sample: true,
        expect: [
          /LIVE-INFO system=\/nix\/store\/[0-9a-z]{32}-nixos-system-live-26\.05 firmware=uefi kind=iso/,
          new RegExp(`LIVE-CHECK paths=${storePaths(live.folder).length} verify=ok files=\\d+ objects=\\d+ mismatches=0`),
          /LIVE-CHECK RESULT ok/,
        ],
      })
      expect(result.ok, result.report).toBe(true)
      expect(result.report).not.toContain(`system=${toplevelOf(live.folder)} `)
    },
    15 * MINUTES,
  )
})
