/**
 * Secrets of an initrd (`boot.initrd.secrets` of NixOS), which are in no store: where a boot loader is installed, a program that
 * boot.json names appends them (`append-initrd-secrets`, nixos/modules/system/boot/stage-1.nix). It needs a shell of the target
 * and the files of the target, so it is not run here: the files are given, and become an archive as it makes one, behind the
 * system's initrd. What lies below `.initrd-secrets` is copied to its place by stage 1.
 *
 * Not supported: running another appender than that of nixpkgs, whose needs are therefore not known.
 */
import { cpio } from '../archives/cpio/index.ts'
import type { MenuBootspec } from '../boot/index.ts'
import { utf8 } from '../bytes/text.ts'
import { ImageError } from '../errors.ts'
import { bytesImage, type Image } from '../io/image.ts'
import type { ProgressListener } from '../io/progress.ts'
import { imageChunks } from '../io/stream.ts'
import { addedTree, withoutLinks } from '../system/additions.ts'
import type { Bootspec } from '../system/bootspec.ts'
import { filesInStore, imageInStore, type StorePlace, textInStore } from '../system/store-files.ts'
import { scanHost } from '../tree/scan.ts'
import type { Attributes, FileNode, TreeNode } from '../tree/tree.ts'
import { prependedArchives } from './initrd-parts.ts'

export interface InitrdSecretsOptions {
  /**
   * A folder of the host with the secrets where they belong in the initrd (`DIR/etc/key` for `/etc/key`), or an archive that is
   * ready. Has to be given for a system that needs secrets, unless it is to start without them.
   */
  readonly initrdSecrets?: string
  /** The system starts without them, or has them in its initrd already. Default false. */
  readonly withoutInitrdSecrets?: boolean
}

/** What the archive is called among the files that are loaded. */
const SECRETS_NAME = '/initrd-secrets'

/** Keys and passwords are small; they are held in memory, so that what was looked at is what is written. */
const SECRETS_LIMIT = 64 << 20

const FOLDER = '.initrd-secrets'
const ATTRIBUTES: Attributes = { mode: 0o755, uid: 0, gid: 0, mtimeSeconds: 0 }

/**
 * The archive for a system with its specialisations, or undefined where none is given. Throws NOT_FOUND for secrets that are
 * needed and not given, USAGE for options that contradict each other, LIMIT, and what reading the files throws.
 */
export async function initrdSecrets(
  bootspec: Bootspec,
  place: StorePlace,
  options: InitrdSecretsOptions & { readonly onProgress?: ProgressListener },
): Promise<Image | undefined> {
  const { initrdSecrets: source, withoutInitrdSecrets = false, onProgress } = options
  if (source !== undefined && withoutInitrdSecrets) {
    throw new ImageError('USAGE', (option) => `${option('initrdSecrets')} and ${option('withoutInitrdSecrets')} exclude each other`)
  }
  if (withoutInitrdSecrets) return undefined
  const needs = await neededSecrets(bootspec, place)
  if (source === undefined) {
    const [first] = needs
    if (first !== undefined) throw missingSecrets(first)
    return undefined
  }
  if (needs.length === 0) {
    const message = `no initrd of ${bootspec.toplevel} asks for secrets; those of ${source} are put behind it all the same`
    onProgress?.({ kind: 'note', message })
  }
  const image = await archiveOf(source, needs, onProgress)
  const message = `the secrets of ${source} are in what is written: whoever can read it, or load it over a network, can read them`
  onProgress?.({ kind: 'note', message })
  return image
}

/** The same system, its initrds followed by the archive. */
export function withSecrets<T extends MenuBootspec>(bootspec: T, secrets: Image | undefined): T {
  if (secrets === undefined) return bootspec
  const specialisations = new Map([...bootspec.specialisations].map(([name, child]) => [name, withSecrets(child, secrets)]))
  return { ...bootspec, specialisations, furtherInitrds: [SECRETS_NAME] } as T
}

/** Files that a system is started by: of the store, and the archive. */
export interface BootFileSource {
  nodes(paths: readonly string[]): Promise<Map<string, FileNode>>
  image(path: string): Promise<Image>
  /** Of one initrd that is put together from these: what is secret is root's alone. */
  modeOf(paths: readonly string[]): number
}

export function bootFileSource(store: StorePlace, secrets: Image | undefined): BootFileSource {
  const modeOf = (paths: readonly string[]): number => (paths.includes(SECRETS_NAME) ? 0o400 : 0o444)
  return {
    async nodes(paths) {
      const files = await filesInStore(
        paths.filter((path) => path !== SECRETS_NAME),
        store,
      )
      if (secrets === undefined || !paths.includes(SECRETS_NAME)) return files
      const own = { ...ATTRIBUTES, mode: modeOf([SECRETS_NAME]), size: secrets.size }
      return files.set(SECRETS_NAME, { kind: 'file', ...own, content: { kind: 'image', image: secrets } })
    },
    image: async (path) => (path === SECRETS_NAME && secrets !== undefined ? secrets : imageInStore(path, store)),
    modeOf,
  }
}

interface SecretsNeed {
  readonly appender: string
  /** Paths in the initrd, without a slash before them; undefined where the appender is none of nixpkgs. */
  readonly targets: readonly string[] | undefined
}

/** Of the system and its specialisations, those whose appender has something to append. */
async function neededSecrets({ initrd, initrdSecrets: appender, specialisations }: Bootspec, place: StorePlace): Promise<SecretsNeed[]> {
  const needs: SecretsNeed[] = []
  for (const child of specialisations.values()) needs.push(...(await neededSecrets(child, place)))
  if (initrd === undefined || appender === undefined) return needs
  const targets = targetsOf((await textInStore(appender, place)) ?? '')
  return targets?.length === 0 ? needs : [{ appender, targets }, ...needs]
}

/** Up to 2023 every system has the program; without secrets it says `exit 0` and copies nothing. */
function targetsOf(script: string): string[] | undefined {
  if (!script.includes('INITRD_FILE')) return undefined
  const copied = script.matchAll(/^\s*cp -a .+ "\$tmp\/\.initrd-secrets\/(.+)"\s*$/gm)
  const targets = [...copied].map(([, target = '']) => target.replace(/^\/+/, ''))
  return targets.length === 0 && script.includes('/.initrd-secrets/') ? undefined : targets
}

function missingSecrets({ appender, targets }: SecretsNeed): ImageError {
  const which = targets === undefined ? '' : `: ${targets.map((target) => `/${target}`).join(', ')}`
  return new ImageError(
    'NOT_FOUND',
    (option) =>
      `${appender} appends secrets to the initrd where the system is installed${which}; give them with ${option('initrdSecrets')}, ` +
      `or say ${option('withoutInitrdSecrets')} where the system starts without them or its initrd has them already`,
    { path: appender },
  )
}

async function archiveOf(source: string, needs: readonly SecretsNeed[], onProgress: ProgressListener | undefined): Promise<Image> {
  const scanned = scanHost(withoutLinks(source), { attributes: (_kind, host) => host })
  if (scanned.kind !== 'directory') return inMemory((await prependedArchives([source], onProgress))[0] as Image, source)
  const lacking = needs.flatMap(({ targets = [] }) => targets).filter((target) => nodeAt(scanned, target) === undefined)
  if (scanned.entries.length === 0) throw new ImageError('BAD_INPUT', `${source}: is empty, secrets are to lie in it`, { path: source })
  if (lacking.length > 0) {
    const names = [...new Set(lacking)].map((target) => `${source.replace(/\/+$/, '')}/${target}`).join(', ')
    throw new ImageError('NOT_FOUND', `secrets of the initrd are missing: ${names}`, { path: source })
  }
  const policy = { attributes: (_kind: TreeNode['kind'], host: Attributes) => ({ ...ATTRIBUTES, mode: host.mode }) }
  return inMemory(cpio(addedTree({ target: FOLDER, source }, ATTRIBUTES, policy, onProgress)), source)
}

function nodeAt(root: TreeNode, path: string): TreeNode | undefined {
  let node: TreeNode | undefined = root
  for (const name of path.split('/').filter((part) => part !== '' && part !== '.')) {
    const bytes = Buffer.from(utf8(name))
    node = node?.kind === 'directory' ? node.entries.find((entry) => bytes.equals(entry.name))?.node : undefined
  }
  return node
}

async function inMemory(image: Image, path: string): Promise<Image> {
  if (image.size > SECRETS_LIMIT) {
    throw new ImageError('LIMIT', `${path}: ${image.size} bytes, secrets of an initrd may have ${SECRETS_LIMIT}; leave out what is none`, {
      path,
    })
  }
  const chunks: Uint8Array[] = []
  for await (const chunk of imageChunks(image)) chunks.push(Buffer.from(chunk))
  return bytesImage(Buffer.concat(chunks), image.size)
}
