/** What containers are read from. */
export { bytesSource, FileSource, type RandomAccessSource, type SourceFile } from '../io/source.ts'
