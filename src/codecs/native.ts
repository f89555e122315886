/** Instances of the one WebAssembly module, each with memory of its own that the caller lays out. */
import { NATIVE_MODULE } from './native-module.ts'

/** What is used here of WebAssembly, which the type declarations of Node leave out; `node --jitless` has none. */
declare const WebAssembly:
  | undefined
  | {
      readonly Memory: new (descriptor: { initial: number }) => { readonly buffer: ArrayBuffer }
      readonly Module: new (bytes: Uint8Array) => object
      readonly Instance: new (
        module: object,
        imports: Record<string, Record<string, object>>,
      ) => { readonly exports: Record<string, unknown> }
    }

const WASM_PAGE = 65536

export interface NativeInstance {
  /** All of its memory, at least as much as was asked for. */
  readonly bytes: Uint8Array
  readonly exports: Readonly<Record<string, unknown>>
}

/** An instance with `size` bytes of memory; undefined where there is no WebAssembly. */
export function nativeInstance(size: number): NativeInstance | undefined {
  if (typeof WebAssembly === 'undefined') return undefined
  const memory = new WebAssembly.Memory({ initial: Math.ceil(size / WASM_PAGE) })
  const module = new WebAssembly.Module(Buffer.from(NATIVE_MODULE, 'base64'))
  const { exports } = new WebAssembly.Instance(module, { env: { memory } })
  return { bytes: new Uint8Array(memory.buffer), exports }
}
