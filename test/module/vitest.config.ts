import { defineConfig } from 'vitest/config'

/** Tests with OpenZFS's kernel module, which takes minutes to build: apart from the default run. */
export default defineConfig({
  test: {
    dir: import.meta.dirname,
    pool: 'forks',
    testTimeout: 60_000,
  },
})
