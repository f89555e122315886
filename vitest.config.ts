import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { defineConfig } from 'vitest/config'
import { filesOf, isApart, type Project, ROOT } from './test/projects.ts'

/** Those that run longest come first: vitest takes the projects in the order of their names, and of each the larger files first. */
const PROJECTS: readonly Project[] = ['e2e', 'oracle', 'unit']

// Worker threads and commands run the sources: for each of them, most of its time is stripping their types, if nothing is kept.
process.env.NODE_COMPILE_CACHE ??= join(ROOT, 'node_modules/.cache/node')

const TIMES = { testTimeout: 60_000, hookTimeout: 600_000 }

export default defineConfig({
  test: {
    pool: 'forks',
    // Node imports the tests and the sources itself: nothing is transformed, and no import is a look-up each time that it is used.
    experimental: { viteModuleRunner: false },
    setupFiles: ['test/shared-process.ts'],
    // One more than processors, up to four: now and then each waits, for a disk, a signal or a tool. A file may run two machines at a time.
    maxWorkers: Math.min(4, availableParallelism() + 1),
    projects: PROJECTS.flatMap((name) => [
      { extends: true, test: { name, isolate: false, include: filesOf(name).filter((file) => !isApart(file)), ...TIMES } },
      { extends: true, test: { name: `${name} apart`, include: filesOf(name).filter(isApart), ...TIMES } },
    ]),
  },
})
