/** The import directions of ARCHITECTURE.md, read from the import lines. */
import { globSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { describe, expect, it } from 'vitest'

const SOURCE = join(import.meta.dirname, '../src')

/** Lower may not import higher; the same number may not import another of its number. */
const LEVELS: Readonly<Record<string, number>> = {
  'errors.ts': 0,
  bytes: 1,
  json: 2,
  threads: 2,
  'extended-regex': 2,
  io: 3,
  tree: 4,
  codecs: 4,
  nix: 5,
  data: 5,
  filesystems: 6,
  archives: 6,
  disks: 6,
  system: 6,
  boot: 7,
  images: 8,
  server: 8,
  entries: 9,
  'index.ts': 10,
  cli: 11,
}

/** Formats know nothing of Nix. */
const FORMATS = new Set(['filesystems', 'archives', 'disks'])

/** Exceptions, each with its reason. */
const ALLOWED = new Set([
  // A hybrid ISO carries a partition table.
  'filesystems/iso9660 -> disks/gpt',
  'filesystems/iso9660 -> disks/mbr',
  // A GPT begins with a protective MBR (UEFI 2.10, 5.2.3).
  'disks/gpt -> disks/mbr',
  // An appliance holds a streamOptimized disk (DSP0243).
  'disks/ova -> disks/vmdk',
  // Both are tar archives.
  'disks/ova -> archives/tar',
  'disks/raw-tar -> archives/tar',
])

/** Knows every container, each of which knows what one is, and what sectors are. */
const REGISTRY = 'disks/containers.ts'
const SHARED = ['disks/reading', 'disks/container.ts', 'disks/machine.ts', 'disks/sectors.ts']

interface Import {
  readonly from: string
  readonly to: string
}

/** `squashfs` of `filesystems/squashfs/data/pack.ts`: the parts that may not know each other. */
function part(path: string): string {
  const [top = '', second = ''] = path.split('/')
  return ['filesystems', 'archives', 'disks'].includes(top) ? `${top}/${second}` : top
}

function importsOf(file: string, text: string): Import[] {
  const found = text.matchAll(/(?:\bfrom\s+|\bimport\s+|\bimport\(\s*|new URL\(\s*)'(\.{1,2}\/[^']+\.[jt]s)'/g)
  return [...found].map((match) => ({ from: file, to: relative(SOURCE, join(SOURCE, dirname(file), match[1] ?? '')) }))
}

/** Why an import is not allowed, or undefined. */
function violation({ from, to }: Import): string | undefined {
  const [a, b] = [part(from), part(to)]
  if (a.startsWith('disks/') && (a === REGISTRY || SHARED.includes(b)) && b.startsWith('disks/')) return undefined
  if (a === b || ALLOWED.has(`${a} -> ${b}`)) return undefined
  const [levelA, levelB] = [LEVELS[from.split('/')[0] ?? ''], LEVELS[to.split('/')[0] ?? '']]
  if (levelA === undefined || levelB === undefined) return `${from} -> ${to}: a folder that ARCHITECTURE.md does not know`
  const knowsNix = FORMATS.has(from.split('/')[0] ?? '') && b === 'nix'
  return levelB >= levelA || knowsNix ? `${from} -> ${to}` : undefined
}

/** Files that import each other, directly or by way of others, types included (Tarjan's strongly connected components). */
function circles(imports: readonly Import[]): string[] {
  const targets = Map.groupBy(imports, ({ from }) => from)
  const order = new Map<string, number>()
  const trail: string[] = []
  const found: string[] = []
  /** The earliest file on the trail that is reached from `file`. */
  const visit = (file: string): number => {
    const own = order.size
    order.set(file, own)
    trail.push(file)
    let lowest = own
    for (const { to } of targets.get(file) ?? []) {
      const at = order.get(to) ?? visit(to)
      if (trail.includes(to)) lowest = Math.min(lowest, at)
    }
    if (lowest === own) {
      const component = trail.splice(trail.indexOf(file))
      if (component.length > 1) found.push(component.sort().join(' '))
    }
    return lowest
  }
  for (const file of targets.keys()) if (!order.has(file)) visit(file)
  return found.sort()
}

const files = globSync('**/*.ts', { cwd: SOURCE })
const allImports = (): Import[] => files.flatMap((file) => importsOf(file, readFileSync(join(SOURCE, file), 'utf8')))

describe('architecture', () => {
  it('imports from left to right only', () => {
    const imports = allImports()
    expect(imports.length).toBeGreaterThan(50)
    expect(imports.map(violation).filter((found) => found !== undefined)).toEqual([])
  })

  it('sees a wrong import', () => {
    const wrong = importsOf(
      'filesystems/fat/plan.ts',
      "import { narSize } from '../../nix/nar/serialize.ts'\nimport '../squashfs/index.ts'\n",
    )
    expect(wrong.map(violation)).toEqual([
      'filesystems/fat/plan.ts -> nix/nar/serialize.ts',
      'filesystems/fat/plan.ts -> filesystems/squashfs/index.ts',
    ])
    expect(importsOf('io/image.ts', "import type { Node } from '../tree/tree.ts'").map(violation)).toEqual(['io/image.ts -> tree/tree.ts'])
  })

  it('has no circles', () => {
    expect(circles(allImports())).toEqual([])
  })

  it('sees a circle, of types too', () => {
    const text = (to: string): string => `import type { Thing } from './${to}.ts'`
    const chain = [...importsOf('io/a.ts', text('b')), ...importsOf('io/b.ts', text('c'))]
    expect(circles(chain)).toEqual([])
    expect(circles([...chain, ...importsOf('io/c.ts', text('a')), ...importsOf('io/d.ts', text('a'))])).toEqual(['io/a.ts io/b.ts io/c.ts'])
  })

  it('keeps clock, randomness and environment out of the library', () => {
    const forbidden = /\bDate\.now\(|\bnew Date\(\)|Math\.random\(|randomBytes|randomUUID|process\.env|toLocale|localeCompare|os\.hostname/
    const found = files.filter((file) => !file.startsWith('cli/') && forbidden.test(readFileSync(join(SOURCE, file), 'utf8')))
    expect(found).toEqual([])
    expect(forbidden.test('const now = Date.now()')).toBe(true)
  })

  it('has no file over 400 lines and no TODO', () => {
    const long = files.filter((file) => {
      const text = readFileSync(join(SOURCE, file), 'utf8')
      const generated = text.startsWith('// Generated by')
      return (!generated && text.split('\n').length > 401) || /\bTODO\b|\bFIXME\b/.test(text)
    })
    expect(long).toEqual([])
  })
})
