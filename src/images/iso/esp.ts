/** The EFI system partition of an ISO, as a file in it. */
import { MEBIBYTE } from '../../bytes/units.ts'
import { fat, fileOffset, planFat } from '../../filesystems/fat/index.ts'
import type { DirectoryNode, FileNode } from '../../tree/tree.ts'

export const ESP_PATH_IN_ISO = '/boot/efi.img'

/** Menus that are brought along may be nixpkgs', which find the partition by it. */
export const NIXPKGS_ESP_SERIAL = 0x12345678

/** Of ISO 9660, at which files begin; those of the partition that are shared have to. */
const BLOCK_SIZE = 2048

export interface EspImage {
  readonly file: FileNode
  /** Where in it the shared files lie. */
  readonly contains: ReadonlyMap<FileNode, number>
}

export function espImage(
  tree: DirectoryNode,
  shared: ReadonlySet<FileNode>,
  identity: { readonly mtimeSeconds: number; readonly volumeSerial: number },
): EspImage {
  const options = { label: 'EFIBOOT', ...identity, roundTo: MEBIBYTE, leastClusterSize: BLOCK_SIZE, alignData: true }
  const plan = planFat(tree, options)
  const { mtimeSeconds } = identity
  const content = { kind: 'image', image: fat(tree, options) } as const
  return {
    file: { kind: 'file', mode: 0o444, uid: 0, gid: 0, mtimeSeconds, size: plan.size, content },
    contains: new Map(plan.files.filter(({ node }) => shared.has(node)).map((file) => [file.node, fileOffset(plan, file)])),
  }
}
