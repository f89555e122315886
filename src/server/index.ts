/**
 * HTTP/1.1 (RFC 9110, RFC 9112) over finished images: a fixed table of files, streamed from where their bytes are.
 *
 * Supported: GET and HEAD, single byte ranges, strong entity tags with If-Match, If-None-Match and If-Range, persistent
 * and pipelined connections, HTTP/1.0. Who asks by a name that the server was not given gets 421.
 * Not supported, and answered as the specification allows: several ranges in one request and other units (200 with the
 * whole file), dates (no Last-Modified is sent, conditions with dates are not met), content codings, TLS, HTTP/2.
 */
export type { DropReason, ServedRequest, ServerEvent } from './events.ts'
export type { ServedFile } from './files.ts'
export { checkAddress, type RunningServer, SERVE_DEFAULTS, type ServeOptions, serveFiles } from './serve.ts'
