/** CONTRIBUTING.md names what is there. */
import { existsSync, readFileSync } from 'node:fs'
import { expect, it } from 'vitest'

const root = new URL('../', import.meta.url)
const text = readFileSync(new URL('CONTRIBUTING.md', root), 'utf8')
const scripts: Readonly<Record<string, string>> = JSON.parse(readFileSync(new URL('package.json', root), 'utf8')).scripts

const TOP = /^(?:src|test|scripts|fixtures|docs|bench|native|\.ci)\/[\w./-]*$/

/** Paths in code and links, the anchors of links left out. */
function pathsIn(page: string): string[] {
  const code = [...page.matchAll(/`([^`\n]+)`/g)].flatMap(([, span = '']) => span.split(' ')).filter((word) => TOP.test(word))
  const links = [...page.matchAll(/\]\(([^)#]+)(?:#[^)]*)?\)/g)].map(([, target = '']) => target)
  return [...code, ...links]
}

/** The format that is to be added has the files that others have. */
const existing = (path: string): string => path.replace('disks/xyz', 'disks/vhd').replace('filesystems/xyz', 'filesystems/fat')
const missing = (page: string): string[] => pathsIn(page).filter((path) => !existsSync(new URL(existing(path), root)))

const scriptsIn = (page: string): string[] => [...page.matchAll(/npm run ([\w:]+)/g)].map(([, name = '']) => name)

it('names paths that are there', () => {
  expect(pathsIn(text).length).toBeGreaterThan(30)
  expect(missing(text)).toEqual([])
})

it('names scripts that are there', () => {
  expect(new Set(scriptsIn(text)).size).toBeGreaterThan(5)
  expect(scriptsIn(text).filter((name) => scripts[name] === undefined)).toEqual([])
})

it('would miss what is not there', () => {
  expect(missing('`src/nothing.ts`, `node bench/none.ts`, [page](NONE.md#at), `src/disks/xyz/none.ts`, `src/disks/xyz/index.ts`')).toEqual([
    'src/nothing.ts',
    'bench/none.ts',
    'src/disks/xyz/none.ts',
    'NONE.md',
  ])
})

it('is led to by links with anchors that are there', () => {
  const anchors = [...text.matchAll(/\]\(([^)#]+)#([^)]*)\)/g)]
  expect(anchors.length).toBeGreaterThan(0)
  for (const [, page = '', anchor = ''] of anchors) {
    const headings = [...readFileSync(new URL(page, root), 'utf8').matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) =>
      heading
        .toLowerCase()
        .replace(/[^\w -]/g, '')
        .replaceAll(' ', '-'),
    )
    expect(headings, page).toContain(anchor)
  }
})
