/** What is done with a store path whose contents are checked, in whatever thread: it is hashed and scanned. */
import { ImageError } from '../../errors.ts'
import type { Stop, WorkModule } from '../../threads/work.ts'
import { NarDigester } from '../nar/digest.ts'
import { narSize } from '../nar/serialize.ts'
import { listedTree } from '../store/listed-tree.ts'
import { referenceScanner } from '../store/reference-scan.ts'
import { sortNames, storePath } from '../store/store-path.ts'
import { checkAddress } from './address.ts'
import type { CheckSetup, CheckTask, FoundContents, TaskResult } from './protocol.ts'

/** Bytes after which progress is told. */
const REPORT_SIZE = 8 << 20

/** Tells how many bytes of NARs were hashed since it last did. What is wrong with a path is a result. */
export const work: WorkModule<CheckSetup, CheckTask, TaskResult, number> = {
  module: import.meta.url,
  open({ baseNames, caseHack }, stop) {
    const digester = new NarDigester({ scanner: referenceScanner(baseNames) })
    return {
      async run(task, tell) {
        try {
          return await contentsOf(task, digester, caseHack, stop, tell)
        } catch (error) {
          if (error instanceof ImageError) return { kind: 'failure', code: error.code, message: error.message }
          throw error
        }
      },
    }
  },
}

async function contentsOf(
  { baseName, references, ca, ...place }: CheckTask,
  digester: NarDigester,
  caseHack: boolean,
  { isStopped }: Stop,
  tell: (count: number) => void,
): Promise<FoundContents> {
  const node = listedTree(place, { caseHack })
  const size = narSize(node, storePath(baseName))
  let untold = 0
  for (const count of digester.steps(node)) {
    if (isStopped()) throw new ImageError('ABORTED', 'cancelled while the store was hashed')
    untold += count
    if (untold < REPORT_SIZE) continue
    tell(untold)
    untold = 0
  }
  tell(untold)
  const { hash, found } = digester.result()
  const address = ca === undefined ? undefined : await checkAddress({ baseName, ca, references, node, narHash: hash })
  return { kind: 'found', narHash: hash, narSize: size, references: sortNames([...found]), address }
}
