/** What the WebAssembly module exports. Its memory is imported and laid out by the caller. */
export { fletcher4 } from './fletcher4'
export { compressFast } from './lz4-fast'
export { compressHigh } from './lz4-high'
