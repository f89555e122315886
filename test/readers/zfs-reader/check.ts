/** Everything that must agree in a pool, beyond what reading finds. */
import { checkConfig } from './check-config.ts'
import { checkDatasets } from './check-datasets.ts'
import { checkFeatures } from './check-features.ts'
import { checkFileSystem } from './check-file-system.ts'
import { checkObjects } from './check-objects.ts'
import { checkSpace } from './check-space.ts'
import type { ZfsReading } from './index.ts'
import { attempt } from './pool.ts'

export type Wrong = (what: string) => void

/** Sentences about what is wrong, those of reading first; empty for a good pool. */
export function checkZfs(reading: ZfsReading): string[] {
  const { pool, fileSystems } = reading
  const wrong: Wrong = (what) => pool.problems.push(what)
  const parts = [checkConfig, checkSpace, checkDatasets, checkObjects, checkFeatures]
  for (const part of parts) attempt(pool, part.name, () => part(reading, wrong))
  for (const [name, fileSystem] of fileSystems) {
    attempt(pool, name, () => checkFileSystem(fileSystem, (what) => wrong(`${name}: ${what}`)))
  }
  return [...pool.problems]
}
