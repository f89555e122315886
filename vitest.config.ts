import { join } from 'node:path'
import { defineConfig } from 'vitest/config'
import { filesOf, type Project, ROOT } from './test/projects.ts'

/** Those that run longest come first: vitest takes the projects in the order of their names, and of each the larger files first. */
const PROJECTS: readonly Project[] = ['e2e', 'oracle', 'unit']

// Worker threads and commands run the sources: for each of them, most of its time is stripping their types, if nothing is kept.
process.env.NODE_COMPILE_CACHE ??= join(ROOT, 'node_modules/.cache/node')

export default defineConfig({
  test: {
    pool: 'forks',
    maxWorkers: 2,
    projects: PROJECTS.map((name) => ({
      extends: true,
      test: { name, include: filesOf(name), testTimeout: 60_000, hookTimeout: 600_000 },
    })),
  },
})
