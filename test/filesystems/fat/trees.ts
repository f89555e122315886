/** The trees that every reader is given. */
import type { DirectoryNode, TreeNode } from '../../../src/tree/tree.ts'
import { directory, file, hole, noise } from './support.ts'

function numbered(count: number, name: (i: number) => string): DirectoryNode {
  return directory(Object.fromEntries(Array.from({ length: count }, (_, i): [string, TreeNode] => [name(i), file(`content ${i}`)])))
}

export function nested(depth: number): DirectoryNode {
  let node = directory({ 'at the bottom.txt': file('bottom') })
  for (let i = depth; i > 0; i--) node = directory({ [`level ${i}`]: node, 'FILE.TXT': file(`level ${i}`) })
  return node
}

export const TREES: Readonly<Record<string, DirectoryNode>> = {
  empty: directory({}),
  esp: directory({
    EFI: directory({
      BOOT: directory({ 'BOOTX64.EFI': file(noise(105_000)) }),
      systemd: directory({ 'systemd-bootx64.efi': file(noise(105_000)) }),
      nixos: directory({
        '0123456789abcdfghijklmnpqrsvwxyz-linux-6.12.1-bzImage.efi': file(noise(1_200_001, 2)),
        '0123456789abcdfghijklmnpqrsvwxyz-initrd-linux-6.12.1-initrd.efi': file(noise(2_000_000, 3)),
      }),
      Linux: directory({}),
    }),
    loader: directory({
      'loader.conf': file('timeout 5\n'),
      'entries.srel': file('type1\n'),
      entries: directory({ 'nixos-generation-1.conf': file('title NixOS\n') }),
    }),
  }),
  'file sizes about a cluster': directory(
    Object.fromEntries(
      [0, 1, 511, 512, 513, 1023, 1024, 1025, 4095, 4096, 4097, 32768, 32769, 65537].map((size) => [
        `size ${size}`,
        file(noise(size, size + 1)),
      ]),
    ),
  ),
  'many in a directory': directory({ many: numbered(3000, (i) => `a name that is not short ${i}.txt`) }),
  'many short': directory({ MANY: numbered(2000, (i) => `F${i}.TXT`) }),
  'many in the root': numbered(700, (i) => `root file ${i}`),
  nested: nested(40),
  'long names': directory(
    Object.fromEntries(
      [12, 13, 14, 25, 26, 27, 38, 39, 40, 254, 255].map((length): [string, TreeNode] => [
        `${length}${'-x'.repeat(128)}`.slice(0, length),
        file(`${length}`),
      ]),
    ),
  ),
  unicode: directory({
    'Grüße.txt': file('umlaut'),
    '日本語のファイル名.text': file('kanji'),
    '😀 surrogates 😀.txt': file('emoji'),
    'e\u0301 combining': file('combining'),
    Ελληνικά: directory({ 'ж.Ж': file('cyrillic') }),
  }),
  'alias collisions': directory({
    ...Object.fromEntries(Array.from({ length: 120 }, (_, i): [string, TreeNode] => [`collision ${i}.text`, file(`${i}`)])),
    'COLLIS~1.TEX': file('exact'),
    'collis~3.tex': file('lower'),
    '.collision.text': file('dot'),
    'a+b,c;d=e[f]': file('punctuation'),
    'two.dots.tar.gz': file('dots'),
    '.hidden': file('hidden'),
    'UPPER.TXT': file('upper'),
    'Mixed.Txt': file('mixed'),
    'lower.txt': file('lower'),
  }),
  'zero content': directory({ 'zeros.bin': hole(300_000), 'after.bin': file(noise(5000)), none: file('') }),
}
