/** What containers are read from. */
export { bytesSource, FileSource, type RandomAccessSource } from '../io/source.ts'
