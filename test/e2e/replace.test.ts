/**
 * Paths deep in the live system are replaced while its ISO is made, and the system that boots says that it is whole: Nix
 * verifies every path, and every file is what was built, but for the names that were rewritten.
 *
 * The list of hashes that the system carries is of the files as they were built. So the program that hashes is one of the
 * paths that are replaced: the new one puts the old names back before it hashes, and agrees only where nothing else has changed.
 */
import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync } from 'node:fs'
import { mkdtemp, rename } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { FileNode, TreeNode } from '../../src/tree/tree.ts'
import { addTwin, type Twin } from '../images/twins.ts'
import { oracle, runOk } from '../oracles/tools.ts'
import { removeTree } from '../remove-tree.ts'
import { generatedClosure, storePathNamed, storePaths, toplevelOf } from './closures.ts'
import { kilnix } from './kilnix.ts'
import type { BootResult } from './machine.ts'
import { bootImage } from './qemu.ts'

const live = generatedClosure('live')
const skip = live.skip || oracle('qemu-system-x86_64').skip
const MINUTES = 60_000
/** Two machines run at a time, and a test may have to wait for its turn. */
const TEST_TIMEOUT = 30 * MINUTES
const UNDOING_MANIFEST = readFileSync(fileURLToPath(new URL('replaced-manifest.sh', import.meta.url)), 'utf8')

describe.skipIf(skip)('the live system with replaced paths', () => {
  let work: string
  let root: string
  /** The closure with what replaces, and `OLD=NEW` of each. */
  const twins: Record<string, { readonly listing: string; readonly pairs: readonly string[] }> = {}
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
    for (const [kind, change] of [
      ['same', unchanged],
      ['other', withFurtherLink],
    ] as const) {
      const busybox: Twin = await addTwin({ listing: manifest.listing, root, into: work }, BUSYBOX, change)
      await rename(busybox.listing, join(work, `${kind}.json`))
      twins[kind] = { listing: join(work, `${kind}.json`), pairs: [manifest.pair, busybox.pair] }
    }
  }, 5 * MINUTES)
  afterAll(() => removeTree(work))

  const boot = async (kind: string, check: RegExp, result: RegExp): Promise<BootResult> => {
    const { listing = '', pairs = [] } = twins[kind] ?? {}
    const image = join(work, `${kind}.iso`)
    const replaced = pairs.flatMap((pair) => ['--replace', pair])
    await kilnix('iso', '--closure', listing, '--root', root, ...replaced, '--compression', 'zstd:3', '--timeout', '1', '-o', image)
    const system = /LIVE-INFO system=\/nix\/store\/\w{32}-nixos-system-live-26\.05 firmware=uefi kind=iso/
    const expected = [system, /LIVE-REPLACED names=[1-9]\d? files=[1-9]\d?/, check, result]
    return bootImage(image, { firmware: 'uefi', media: 'cdrom', timeoutSeconds: 400, expect: expected })
  }

  it.concurrent(
    'boots from an ISO that was made in one go, and is whole',
    async () => {
      const paths = storePaths(live.folder).length
      const check = new RegExp(`LIVE-CHECK paths=${paths} verify=ok files=\\d+ objects=\\d+ mismatches=0`)
      const result = await boot('same', check, /LIVE-CHECK RESULT ok/)
      expect(result.ok, result.report).toBe(true)
      expect(result.serial).not.toContain(toplevelOf(live.folder))
    },
    TEST_TIMEOUT,
  )

  it.concurrent(
    'fails that check where what replaces a path is not the same',
    async () => {
      const result = await boot('other', /LIVE-CHECK paths=\d+ verify=ok files=\d+ objects=\d+ mismatches=1 /, /LIVE-CHECK RESULT FAIL/)
      expect(result.ok, result.report).toBe(true)
    },
    TEST_TIMEOUT,
  )
})

const BUSYBOX = 'busybox-static-1.35.0'

function unchanged(tree: TreeNode): TreeNode {
  return tree
}

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
