#!/usr/bin/env node
// Plain JavaScript, so that an old Node says a sentence and not a stack trace.
import { existsSync } from 'node:fs'
import module from 'node:module'
import { fileURLToPath } from 'node:url'

if (Number(process.versions.node.split('.')[0]) < 24) {
  process.stderr.write(
    `kilnix: Node ${process.versions.node} is too old, 24 is needed; in a checkout, npx kilnix finds the one that npm ci installed\n`,
  )
  process.exit(2)
}

// Node before 24.15 says on standard error that its SQLite is experimental; each is tested with what is used of it.
const shown = process.listeners('warning')
process.removeAllListeners('warning')
process.on('warning', (warning) => {
  if (warning.name === 'ExperimentalWarning' && warning.message.startsWith('SQLite ')) return
  for (const show of shown) show.call(process, warning)
})

// A checkout runs its sources; the published package has none. Stripping types takes longer than all
// else that --help does, so that its result is kept.
const source = new URL('../src/cli/main.ts', import.meta.url)
const isCheckout = existsSync(source)
if (isCheckout) module.enableCompileCache(fileURLToPath(new URL('../node_modules/.cache/node', import.meta.url)))
const { main } = await import(isCheckout ? source.href : new URL('../dist/cli/main.js', import.meta.url).href)
process.exitCode = await main(process.argv.slice(2))
