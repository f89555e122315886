/** Recipes as products. */

import type { CodecSpec } from '../codecs/codec.ts'
import { type ConvertOptions, convertDisk as convertDiskRecipe } from '../images/disk/convert.ts'
import { type DiskOptions, disk as diskRecipe } from '../images/disk/index.ts'
import { type InitrdOptions, initrd as initrdRecipe } from '../images/initrd.ts'
import { type IsoOptions, iso as isoRecipe } from '../images/iso.ts'
import { netbootFolder, netbootNames } from '../images/netboot/folder.ts'
import { type NetbootFiles, type NetbootOptions, type NetbootPlan, netboot as netbootRecipe } from '../images/netboot/index.ts'
import type { ProductSource } from '../images/product.ts'
import { type StoreSquashfsOptions, storeSquashfs as storeSquashfsRecipe } from '../images/squashfs.ts'
import { type ZfsDisksPlan, type ZfsOptions, zfs as zfsRecipe } from '../images/zfs/index.ts'
import { ZFS_FILE_NAMES } from '../images/zfs/names.ts'
import type { FolderFile } from '../io/folder.ts'
import type { BuildContext, GrowingImage, Image } from '../io/image.ts'
import { isMostlyHoles } from '../io/stream.ts'

export interface Product<Plan extends object = object> {
  readonly plan: Plan
  readonly inputs: readonly string[]
  readonly source: ProductSource
  readonly replaceable: readonly string[]
  readonly digest?: boolean
  files(context: BuildContext): Promise<readonly FolderFile[]>
  close(): Promise<void>
}

export interface ImageProduct<Plan extends object = object> extends Product<Plan> {
  readonly image: Image | GrowingImage
}

function imageProduct<P extends object>(
  image: Image | GrowingImage,
  plan: P,
  inputs: readonly string[],
  { narBytes, verified }: ProductSource,
  close = async (): Promise<void> => undefined,
): ImageProduct<P> {
  return { image, plan, inputs, source: { narBytes, verified }, replaceable: [], files: async () => [], close }
}

export async function iso(options: IsoOptions) {
  const image = await isoRecipe(options)
  return imageProduct(image, image.plan, image.inputs, image.plan.store)
}

export async function storeSquashfs(options: StoreSquashfsOptions) {
  const image = await storeSquashfsRecipe(options)
  return imageProduct(image, image.summary, image.inputs, image.summary)
}

export async function initrd(options: InitrdOptions) {
  const image = await initrdRecipe(options)
  return imageProduct(image, image.plan, image.inputs, image.plan)
}

export async function disk(options: DiskOptions) {
  const { image, plan, inputs } = await diskRecipe(options)
  return imageProduct(image, plan, inputs, plan)
}

export async function convertDisk(options: ConvertOptions) {
  const { image, plan, close } = await convertDiskRecipe(options)
  return imageProduct(image, plan, [options.input], { narBytes: 0, verified: true }, close)
}

export async function zfs(options: ZfsOptions): Promise<Product<ZfsDisksPlan>> {
  const { disks, plan, inputs } = await zfsRecipe(options)
  const { bootSize, rootDiskSize = 0, contentBytes } = plan
  return {
    plan,
    inputs,
    source: plan,
    replaceable: ZFS_FILE_NAMES,
    digest: !isMostlyHoles(bootSize + rootDiskSize, contentBytes),
    files: async () => disks.map(({ name, image }) => ({ path: name, content: { kind: 'image', image } as const })),
    close: async () => undefined,
  }
}

export interface Netboot extends Product<NetbootPlan> {
  pieces(): NetbootFiles['pieces']
}

export async function netboot(
  options: NetbootOptions & { readonly kexec?: boolean; readonly kexecCompression?: CodecSpec },
): Promise<Netboot> {
  const { plan, inputs, build } = await netbootRecipe(options)
  const kexec = options.kexec ? (options.kexecCompression ?? ({ name: 'gzip', level: 1 } as const)) : undefined
  let built: NetbootFiles | undefined
  return {
    plan,
    inputs,
    source: plan,
    replaceable: netbootNames(plan),
    async files(context) {
      built = await build(context)
      return netbootFolder(built, plan, kexec)
    },
    pieces: () => built?.pieces ?? [],
    close: async () => built?.close(),
  }
}
