/** Worker threads: where their code lies, how they are started, and the error of one that is gone. */
import { Worker, type WorkerOptions } from 'node:worker_threads'
import { ImageError } from '../errors.ts'

/**
 * The file `name` beside the module of `moduleUrl`, its `import.meta.url`. In a checkout Node runs the TypeScript itself;
 * the published package holds JavaScript.
 */
export function workerFile(moduleUrl: string, name = 'worker'): URL {
  return new URL(`./${name}.${moduleUrl.endsWith('.ts') ? 'ts' : 'js'}`, moduleUrl)
}

/**
 * Start a thread. It prints nothing: where it could, Node would open the streams of this process for it, which makes a pipe
 * that is standard output non-blocking for all who have it.
 */
export function startWorker(file: URL, options: Pick<WorkerOptions, 'workerData' | 'name' | 'resourceLimits'>): Worker {
  return new Worker(file, { ...options, stdout: true, stderr: true })
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
