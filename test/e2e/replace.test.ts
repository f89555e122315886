/**
 * Paths deep in the live system are replaced while its ISO is made, and the system that boots says that it is whole: Nix
 * verifies every path, and every file is what was built, but for the names that were rewritten.
 *
 * The list of hashes that the system carries is of the files as they were built. So the program that hashes is one of the
 * paths that are replaced: the new one puts the old names back before it hashes, and agrees only where nothing else has changed.
 * The other one that is replaced has a link more than before: the system finds that and nothing else.
 */
import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { FileNode, TreeNode } from '../../src/tree/tree.ts'
import { addTwin } from '../images/twins.ts'
import { oracle, runOk } from '../oracles/tools.ts'
import { removeTree } from '../remove-tree.ts'
import { generatedClosure, storePathNamed, storePaths, toplevelOf } from './closures.ts'
import { complaintsIn } from './damage.ts'
import { kilnix } from './kilnix.ts'
import { bootImage } from './qemu.ts'

const live = generatedClosure('live')
const skip = live.skip || oracle('qemu-system-x86_64').skip
const MINUTES = 60_000
const UNDOING_MANIFEST = readFileSync(fileURLToPath(new URL('replaced-manifest.sh', import.meta.url)), 'utf8')

describe.skipIf(skip)('the live system with replaced paths', () => {
  let work: string
  let root: string
  let image: string
  const built = (path: string): string => readFileSync(join(live.root, path), 'utf8')

  beforeAll(async () => {
    work = await mkdtemp(join(tmpdir(), 'kilnix-replaced-'))
    root = join(work, 'root')
    mkdirSync(root)
    // Node's own copying takes no names that are no UTF-8.
    runOk('cp', ['-a', join(live.root, 'nix'), root])
    const program = storePathNamed(live.folder, 'manifest.sh')
    const names = built(`${toplevelOf(live.folder)}/live/paths`)
      .trim()
      .split('\n')
    const halves = names.map((path) => `${path.slice(11, 21)} ${path.slice(21, 43)}`).join('\n')
    const hash = createHash('md5').update(built(program)).digest('hex')
    const script = UNDOING_MANIFEST.replace('@names@', halves).replace('@hash@', hash)
    const manifest = await addTwin({ listing: live.folder, root, into: work }, 'manifest.sh', (tree) => withText(tree, script))
    const busybox = await addTwin({ listing: manifest.listing, root, into: work }, BUSYBOX, withFurtherLink)
    image = join(work, 'image.iso')
    const replaced = [manifest, busybox].flatMap(({ pair }) => ['--replace', pair])
    const input = ['--closure', busybox.listing, '--root', root]
    await kilnix('iso', ...input, ...replaced, '--compression', 'zstd:3', '--timeout', '1', '-o', image)
  }, 5 * MINUTES)
  afterAll(() => removeTree(work))

  it(
    'boots from an ISO that was made in one go, is whole, and sees what of a path is not the same',
    async () => {
      const { ok, serial, report } = await bootImage(image, {
        firmware: 'uefi',
        media: 'cdrom',
        timeoutSeconds: 400,
        expect: [
          /LIVE-INFO system=\/nix\/store\/\w{32}-nixos-system-live-26\.05 firmware=uefi kind=iso/,
          /LIVE-REPLACED names=[1-9]\d? files=[1-9]\d?/,
          new RegExp(`LIVE-CHECK paths=${storePaths(live.folder).length} verify=ok files=\\d+ objects=\\d+ mismatches=1 `),
          new RegExp(`LIVE-INFO fail: manifest: link '/nix/store/\\w{32}-${BUSYBOX}/further' -> 'bin'\\r?\\n`),
          /LIVE-CHECK RESULT FAIL/,
        ],
      })
      expect(ok, report).toBe(true)
      expect(complaintsIn(serial), report).toEqual(['manifest'])
      expect(serial).not.toContain(toplevelOf(live.folder))
    },
    15 * MINUTES,
  )
})

const BUSYBOX = 'busybox-static-1.35.0'

function withFurtherLink(tree: TreeNode): TreeNode {
  if (tree.kind !== 'directory') throw new Error(tree.kind)
  const link = { kind: 'symlink', mode: 0o777, uid: 0, gid: 0, mtimeSeconds: 1, target: Buffer.from('bin') } as const
  return { ...tree, entries: [...tree.entries, { name: Buffer.from('further'), node: link }] }
}

function withText(tree: TreeNode, text: string): TreeNode {
  if (tree.kind !== 'file') throw new Error(tree.kind)
  const bytes = Buffer.from(text)
  return { ...tree, size: bytes.length, content: { kind: 'bytes', bytes } } satisfies FileNode
}
