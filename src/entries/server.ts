/** `kilnix/server`: finished images over HTTP. */
export {
  type DropReason,
  type RunningServer,
  type ServedFile,
  type ServedRequest,
  type ServeOptions,
  type ServerEvent,
  serveFiles,
} from '../server/index.ts'
export * from './vocabulary.ts'
