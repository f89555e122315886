/** What every entry has: errors, and the types of images. */
export { ERROR_CODES, type ErrorCode, ImageError, type ImageErrorOptions, type Spelling, type Wording } from '../errors.ts'
export type {
  BuildContext,
  ByteRun,
  CarriedContent,
  CarriedGroup,
  CarriedLoad,
  CarriedPart,
  CarriedSource,
  Carrier,
  CarryOrder,
  Extent,
  GrowingImage,
  Image,
  ImmediateReader,
  SparseContent,
} from '../io/image.ts'
export type { ProgressEvent, ProgressListener, Stage } from '../io/progress.ts'
export type { LentTarget, Target } from '../io/target.ts'
