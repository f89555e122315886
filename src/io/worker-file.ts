/** Where the code of a worker thread lies. */

/**
 * The file `name` beside the module of `moduleUrl`, its `import.meta.url`. In a checkout Node runs the TypeScript itself;
 * the published package holds JavaScript.
 */
export function workerFile(moduleUrl: string, name = 'worker'): URL {
  return new URL(`./${name}.${moduleUrl.endsWith('.ts') ? 'ts' : 'js'}`, moduleUrl)
}
