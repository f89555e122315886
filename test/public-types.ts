/** Which types stand in the signatures of a package's entries and cannot be imported from them, read from its declarations. */
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

interface Origin {
  readonly file: string
  readonly name: string
}

interface Module {
  /** By the name within the module. */
  readonly imports: ReadonlyMap<string, Origin>
  readonly declarations: ReadonlyMap<string, string>
  /** By the exported name. */
  readonly exports: ReadonlyMap<string, Origin>
  /** Files of `export *`. */
  readonly stars: readonly string[]
}

export interface Unnameable {
  /** The exported thing whose signature it is in. */
  readonly of: string
  readonly type: string
}

/** The names that an entry exports, and what in their signatures it does not; `file` is its `.d.ts`. */
export function publicTypes(file: string): { readonly names: readonly string[]; readonly unnameable: readonly Unnameable[] } {
  const modules = new Map<string, Module>()
  const moduleOf = (path: string): Module => {
    const known = modules.get(path) ?? readModule(path)
    modules.set(path, known)
    return known
  }
  const exported = new Map<string, Origin>()
  const collect = (path: string): void => {
    const { exports, stars } = moduleOf(path)
    for (const [name, origin] of exports) exported.set(name, resolve(origin, moduleOf))
    stars.forEach(collect)
  }
  collect(file)
  const known = new Set([...exported.values()].map(keyOf))
  const unnameable: Unnameable[] = []
  for (const [of, origin] of exported) {
    const text = moduleOf(origin.file).declarations.get(origin.name)
    if (text === undefined) throw new Error(`${file}: ${of} is declared nowhere`)
    for (const type of typesIn(text, origin, moduleOf)) {
      if (!known.has(keyOf(type))) unnameable.push({ of, type: type.name })
    }
  }
  return { names: [...exported.keys()].sort(), unnameable }
}

function keyOf({ file, name }: Origin): string {
  return `${file}#${name}`
}

/** Where a name is declared. */
function resolve(origin: Origin, moduleOf: (path: string) => Module): Origin {
  const { declarations, imports, exports, stars } = moduleOf(origin.file)
  if (declarations.has(origin.name)) return origin
  const next = exports.get(origin.name) ?? imports.get(origin.name)
  if (next !== undefined) return resolve(next, moduleOf)
  for (const star of stars) {
    const found = resolve({ file: star, name: origin.name }, moduleOf)
    if (moduleOf(found.file).declarations.has(found.name)) return found
  }
  return origin
}

/** What is declared in the package and named in a declaration; what only gives its type by `typeof` is left out. */
function typesIn(text: string, { file, name }: Origin, moduleOf: (path: string) => Module): Origin[] {
  const { imports, declarations } = moduleOf(file)
  const code = text.replace(/'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"/g, (string, at: number) =>
    text.slice(0, at).endsWith('import(') ? string : '""',
  )
  const found: Origin[] = []
  for (const [, path = '', type = ''] of code.matchAll(/import\(["']([^"']+)["']\)\.(\w+)/g)) {
    if (path.startsWith('.')) found.push(resolve({ file: declarationFile(file, path), name: type }, moduleOf))
  }
  const plain = code.replace(/import\([^)]*\)\.\w+/g, '')
  for (const [, type = ''] of plain.matchAll(/(?<!typeof )(?<![\w$.])([A-Z]\w*)\b(?!\??:)/g)) {
    if (type === name) continue
    if (imports.has(type) || declarations.has(type)) found.push(resolve({ file, name: type }, moduleOf))
  }
  return found.filter((one) => moduleOf(one.file).declarations.has(one.name))
}

const STATEMENT = /^(?:import|export|declare|interface|type|const|function|class|abstract)\b/

/** As `tsc` writes declarations: each statement begins at the beginning of a line. */
function readModule(file: string): Module {
  const imports = new Map<string, Origin>()
  const declarations = new Map<string, string>()
  const exports = new Map<string, Origin>()
  const stars: string[] = []
  for (const statement of statementsOf(readFileSync(file, 'utf8'))) {
    const [, kind, list, path] = /^(import|export)\s+(?:type\s+)?\{([^}]*)\}(?:\s*from\s*'([^']+)')?/s.exec(statement) ?? []
    const [, star] = /^export\s+(?:type\s+)?\*\s+from\s*'([^']+)'/.exec(statement) ?? []
    const [, name] =
      /^(?:export\s+)?(?:declare\s+)?(?:abstract\s+)?(?:interface|type|const|function\*?|class)\s+([\w$]+)/.exec(statement) ?? []
    if (star !== undefined) stars.push(declarationFile(file, star))
    else if (list !== undefined) {
      for (const [own, other] of namesIn(list)) {
        const from = path === undefined ? file : declarationFile(file, path)
        if (kind === 'import' && path?.startsWith('.')) imports.set(other, { file: from, name: own })
        if (kind === 'export') exports.set(other, { file: from, name: own })
      }
    } else if (name !== undefined) {
      declarations.set(name, `${declarations.get(name) ?? ''}\n${statement}`)
      if (statement.startsWith('export')) exports.set(name, { file, name })
    }
  }
  return { imports, declarations, exports, stars }
}

function statementsOf(text: string): string[] {
  const code = text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/^\s*\/\/.*$/gm, '')
  const statements: string[] = []
  for (const line of code.split('\n')) {
    if (STATEMENT.test(line)) statements.push(line)
    else statements.push(`${statements.pop() ?? ''}\n${line}`)
  }
  return statements
}

/** Of `a, type b as c`: the name there, and the name here. */
function namesIn(list: string): [own: string, other: string][] {
  return list
    .split(',')
    .map((part) => part.trim().replace(/^type\s+/, ''))
    .filter((part) => part !== '')
    .map((part) => {
      const [own = '', other = own] = part.split(/\s+as\s+/)
      return [own, other]
    })
}

function declarationFile(from: string, path: string): string {
  return join(dirname(from), path.replace(/\.[jt]s$/, '.d.ts'))
}
