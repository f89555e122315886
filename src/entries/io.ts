/** `kilnix/io`: images from and to files, streams and memory. */
export type { OpenFile } from '../io/file-target.ts'
export { type FolderFile, type FolderOptions, type SavedFile, saveFolder, type WrittenFiles } from '../io/folder.ts'
export { bytesImage, isGrowing } from '../io/image.ts'
export { buildContext, imageStream, type OutputOptions, type SavedImage, type SaveOptions, saveImage } from '../io/output.ts'
export { bytesSource, FileSource, type RandomAccessSource, type SourceFile } from '../io/source.ts'
export { imageWebStream, type StreamOptions } from '../io/stream.ts'
export { BufferTarget } from '../io/target.ts'
export * from './vocabulary.ts'
