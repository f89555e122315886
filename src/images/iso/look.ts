/** How the menus of an ISO look: a theme for GRUB, a picture, a title, text alone, a serial port. */
import {
  consoleParameters,
  GRUB_DEFAULTS,
  type GrubOptions,
  type IsolinuxOptions,
  MENU_STYLES,
  type MenuStyle,
  requirePlainText,
  serialConsole,
} from '../../boot/index.ts'
import { printable } from '../../bytes/text.ts'
import { ImageError } from '../../errors.ts'
import type { ProgressListener } from '../../io/progress.ts'
import { addedTree } from '../../system/additions.ts'
import { smallHostFile } from '../../system/small-file.ts'
import { nodeAt } from '../../tree/lookup.ts'
import { treeAt } from '../../tree/merge.ts'
import { type Attributes, type DirectoryNode, type FileNode, sortedEntries, type TreeNode } from '../../tree/tree.ts'
import { readOnlyPolicy } from './policy.ts'
import type { Programs } from './programs.ts'

export interface LookOptions {
  /** A folder with `theme.txt`, for GRUB; the fonts in it are loaded. */
  readonly grubTheme?: string
  /** A picture, PNG or JPEG, behind the menus of isolinux and of GRUB without a theme. */
  readonly splash?: string
  /** Heading of isolinux' menu, default `NixOS`; and of a GRUB theme, default as the theme has it. */
  readonly menuTitle?: string
  /** Default `graphical`. */
  readonly menu?: MenuStyle
  /** `ttyS0` or `ttyS0,115200`: menus and kernel messages are on that port of a PC as well. */
  readonly serialConsole?: string
}

export interface Look {
  /** What lies in the ISO for it. */
  readonly trees: readonly DirectoryNode[]
  readonly grub: GrubOptions
  readonly isolinux: IsolinuxOptions
  readonly kernelParams: readonly string[]
}

const THEME_FOLDER = GRUB_DEFAULTS.theme.slice(1, GRUB_DEFAULTS.theme.lastIndexOf('/'))
const THEME_LIMIT = 1 << 20
const PICTURE_LIMIT = 64 << 20

/** Throws USAGE for what nothing of the image would show, NOT_FOUND, BAD_INPUT, UNREADABLE, LIMIT for files. */
export function menuLook(options: LookOptions & { readonly onProgress?: ProgressListener }, programs: Programs, folder: Attributes): Look {
  const { menu = 'graphical', menuTitle } = options
  if (!MENU_STYLES.includes(menu))
    throw new ImageError('USAGE', (option) => `${option('menu')} is '${menu}'; ${MENU_STYLES.join(', ')} are known`)
  checkShown(options, programs)
  if (menuTitle !== undefined) requirePlainText(menuTitle, 'menu title')
  const serial = options.serialConsole === undefined ? undefined : serialConsole(options.serialConsole)
  const theme = options.grubTheme === undefined ? undefined : themeTree(options.grubTheme, options, folder)
  const splash = options.splash === undefined ? undefined : picture(options.splash, folder)
  const background = splash && `/${splash.path}`
  return {
    trees: [...(theme === undefined ? [] : [theme]), ...(splash === undefined ? [] : [treeAt(splash.path, splash.file, folder)])],
    grub: { style: menu, serial, fonts: theme === undefined ? [] : fontsIn(theme, ''), ...(theme === undefined && { background }) },
    isolinux: { serial, background, ...(menuTitle !== undefined && { menuTitle }) },
    kernelParams: serial === undefined ? [] : consoleParameters(serial),
  }
}

function checkShown({ grubTheme, splash, menuTitle, menu }: LookOptions, { efi, syslinux }: Programs): void {
  const refuse = (name: 'grubTheme' | 'splash' | 'menuTitle', why: string): ImageError =>
    new ImageError('USAGE', (option) => `${option(name)}: ${why}`)
  const isGrub = efi?.menu === 'grub'
  const loaders = [
    ...(efi === undefined ? [] : [isGrub ? 'GRUB' : efi.menu === 'own' ? 'the UEFI boot program' : efi.menu]),
    ...(syslinux ? ['isolinux'] : []),
  ]
  const started = `${loaders.join(' and ')} ${loaders.length > 1 ? 'start' : 'starts'} this image`
  if (menu === 'text') {
    if (grubTheme !== undefined) throw refuse('grubTheme', 'a menu in text shows no theme')
    if (splash !== undefined) throw refuse('splash', 'a menu in text shows no picture')
  }
  if (grubTheme !== undefined && !isGrub) throw refuse('grubTheme', `GRUB alone has themes, and ${started}`)
  if (splash !== undefined && syslinux?.menuModule !== 'vesamenu.c32' && !(isGrub && grubTheme === undefined)) {
    throw refuse(
      'splash',
      isGrub
        ? 'the theme of GRUB has a picture of its own, and nothing else would show this one'
        : `GRUB, and isolinux with vesamenu.c32, show a picture, and ${started}`,
    )
  }
  if (menuTitle !== undefined && syslinux?.menuModule === undefined && grubTheme === undefined) {
    throw refuse('menuTitle', `isolinux' menu and a theme of GRUB have a title, and ${started}`)
  }
}

function themeTree(
  source: string,
  { menuTitle, onProgress }: LookOptions & { readonly onProgress?: ProgressListener },
  folder: Attributes,
): DirectoryNode {
  const tree = addedTree({ target: THEME_FOLDER, source }, folder, readOnlyPolicy(folder), onProgress)
  const found = nodeAt(tree, `${THEME_FOLDER}/theme.txt`)
  if (found?.kind !== 'file') {
    throw new ImageError('NOT_FOUND', (option) => `${option('grubTheme')}: ${source} is no folder with a file theme.txt`, { path: source })
  }
  if (menuTitle === undefined) return tree
  const text = titled(Buffer.from(smallHostFile(`${source}/theme.txt`, THEME_LIMIT, 'the theme')).toString('latin1'), menuTitle)
  const bytes = Buffer.from(text, 'latin1')
  return withNode(tree, found, { ...found, size: bytes.length, content: { kind: 'bytes', bytes } }) as DirectoryNode
}

/** GNU GRUB manual 2.06, "Theme file format": a global property, and a string in quotes. */
function titled(theme: string, title: string): string {
  if (/["\\]/.test(title)) {
    throw new ImageError(
      'UNSUPPORTED',
      (option) => `${option('menuTitle')}: '${title}' has a quote or a backslash, which a theme of GRUB cannot show`,
    )
  }
  const line = `title-text: "${Buffer.from(title).toString('latin1')}"`
  const property = /^[ \t]*title-text[ \t]*:.*$/m
  return property.test(theme) ? theme.replace(property, () => line) : `${line}\n${theme}`
}

/** The same tree with one node exchanged. */
function withNode(node: TreeNode, old: TreeNode, other: TreeNode): TreeNode {
  if (node === old) return other
  if (node.kind !== 'directory') return node
  return { ...node, entries: node.entries.map((entry) => ({ name: entry.name, node: withNode(entry.node, old, other) })) }
}

/** Paths in the ISO of fonts as GRUB has them. */
function fontsIn(node: TreeNode, path: string): string[] {
  if (node.kind === 'file') return path.toLowerCase().endsWith('.pf2') ? [path] : []
  if (node.kind !== 'directory') return []
  return sortedEntries(node).flatMap((entry) => fontsIn(entry.node, `${path}/${printable(entry.name)}`))
}

const PNG_SIGNATURE = Buffer.from('89504e470d0a1a0a', 'hex')
/** Of the header chunk, which comes first (PNG specification, 11.2.2). */
const PNG_INTERLACE_OFFSET = 28
const JPEG_START = Buffer.from('ffd8ff', 'hex')

/** What both boot loaders read. GRUB takes no interlaced PNG (grub-core/video/readers/png.c). */
function picture(source: string, folder: Attributes): { readonly path: string; readonly file: FileNode } {
  const bytes = Buffer.from(smallHostFile(source, PICTURE_LIMIT, 'the picture'))
  const isPng = bytes.subarray(0, PNG_SIGNATURE.length).equals(PNG_SIGNATURE) && bytes.length > PNG_INTERLACE_OFFSET
  if (!isPng && !bytes.subarray(0, JPEG_START.length).equals(JPEG_START)) {
    throw new ImageError(
      'BAD_INPUT',
      (option) => `${option('splash')}: ${source} is neither a PNG nor a JPEG, which boot loaders can show`,
      { path: source },
    )
  }
  if (isPng && bytes[PNG_INTERLACE_OFFSET] !== 0) {
    throw new ImageError(
      'BAD_INPUT',
      (option) => `${option('splash')}: ${source} is an interlaced PNG, which GRUB cannot show; save it without`,
      { path: source },
    )
  }
  const content = { kind: 'bytes', bytes } as const
  return { path: `boot/splash.${isPng ? 'png' : 'jpg'}`, file: { kind: 'file', ...folder, mode: 0o444, size: bytes.length, content } }
}
