/** What the WebAssembly module exports. Its memory is imported and laid out by the caller. */
export { compressFast } from './lz4-fast'
export { compressHigh } from './lz4-high'
