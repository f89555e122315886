/**
 * Compiles `native/assembly/*.ts` with the AssemblyScript compiler into one WebAssembly module and writes it as
 * `src/codecs/native-module.ts`, which is committed: users need no compiler, and the text file is found from `src`
 * and from `dist` alike. A test compiles again and compares byte for byte.
 *
 *     node scripts/build-native.ts
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

const ROOT = join(import.meta.dirname, '..')
const TARGET = join(ROOT, 'src/codecs/native-module.ts')

/** As much of the compiler as is used. Its own declarations redefine globals such as `console` for every file, so they stay out. */
interface Compiler {
  main(
    args: readonly string[],
    api: { writeFile(name: string, content: string | Uint8Array): void },
  ): Promise<{ readonly error: Error | null; readonly stderr: { toString(): string } }>
}
const COMPILER_PACKAGE: string = 'assemblyscript/asc'

const OPTIONS = ['-O3', '--noAssert', '--runtime', 'stub', '--importMemory', '--initialMemory', '1']

/** Compile `native/assembly/index.ts`; the memory is imported, so that the caller decides its size. */
export async function compileNative(): Promise<Uint8Array> {
  const files = new Map<string, Uint8Array>()
  const compiler = (await import(COMPILER_PACKAGE)) as Compiler
  const { error, stderr } = await compiler.main(['native/assembly/index.ts', '--baseDir', ROOT, '--outFile', 'native.wasm', ...OPTIONS], {
    writeFile: (name: string, content: string | Uint8Array) => {
      files.set(name, typeof content === 'string' ? Buffer.from(content) : content)
    },
  })
  if (error !== null) throw new Error(`asc: ${error.message}\n${stderr.toString()}`)
  const module = files.get('native.wasm')
  if (module === undefined) throw new Error(`asc wrote ${[...files.keys()].join(', ') || 'nothing'}, not native.wasm`)
  return module
}

/** The text of `src/codecs/native-module.ts`. */
export async function nativeModuleSource(): Promise<string> {
  const base64 = Buffer.from(await compileNative()).toString('base64')
  return `/** Generated from native/assembly by scripts/build-native.ts; do not edit. A WebAssembly module, in base64. */\nexport const NATIVE_MODULE =\n  '${base64}'\n`
}

if (import.meta.main) writeFileSync(TARGET, await nativeModuleSource())
