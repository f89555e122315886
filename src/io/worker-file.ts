/** Worker threads: where their code lies, and the error of one that is gone. */
import { ImageError } from '../errors.ts'

/**
 * The file `name` beside the module of `moduleUrl`, its `import.meta.url`. In a checkout Node runs the TypeScript itself;
 * the published package holds JavaScript.
 */
export function workerFile(moduleUrl: string, name = 'worker'): URL {
  return new URL(`./${name}.${moduleUrl.endsWith('.ts') ? 'ts' : 'js'}`, moduleUrl)
}

/** WORKER_DIED for thread `number`, counted from 1, which could not start or has ended: why, and the remedy. */
export function workerError(number: number, what: 'cannot be started' | 'died', cause: unknown): ImageError {
  const why = cause instanceof Error ? cause.message : String(cause)
  // A thread of Node asks for its working directory before it runs anything.
  const remedy = why.includes('uv_cwd')
    ? 'change to a working directory that is there'
    : what === 'died'
      ? 'try fewer --jobs or more memory'
      : 'try fewer --jobs'
  return new ImageError('WORKER_DIED', `worker thread ${number} ${what}: ${why}; ${remedy}`, { cause })
}
