/** A thread that hashes and scans store paths, one at a time. */
import { parentPort, workerData } from 'node:worker_threads'
import { ImageError } from '../../errors.ts'
import { scanHost } from '../../tree/scan.ts'
import { NarDigester } from '../nar/digest.ts'
import { narSize } from '../nar/serialize.ts'
import { referenceScanner } from '../store/reference-scan.ts'
import { sortNames, storePath } from '../store/store-path.ts'
import { storePolicy } from '../store/store-tree.ts'
import { checkAddress } from './address.ts'
import type { CheckTask, TaskResult, ThreadMessage, ThreadRequest, ThreadSetup } from './protocol.ts'

const port = parentPort
const { stopFlag, baseNames, caseHack } = workerData as ThreadSetup
const flag = new Int32Array(stopFlag)
const digester = new NarDigester({ scanner: referenceScanner(baseNames) })
const policy = storePolicy(1, caseHack)

/** Bytes after which progress is reported. */
const REPORT_SIZE = 8 << 20

const post = (message: ThreadMessage): void => port?.postMessage(message)

port?.on('message', async (request: ThreadRequest) => {
  if (request === 'stop') port.close()
  else post(await run(request))
})

async function run(task: CheckTask): Promise<TaskResult> {
  try {
    return await contentsOf(task)
  } catch (error) {
    if (error instanceof ImageError) return { kind: 'failure', code: error.code, message: error.message }
    throw error
  }
}

async function contentsOf({ baseName, hostPath, references, ca }: CheckTask): Promise<TaskResult> {
  const node = scanHost(hostPath, policy)
  const size = narSize(node, storePath(baseName))
  let unreported = 0
  for (const count of digester.steps(node)) {
    if (Atomics.load(flag, 0) !== 0) throw new ImageError('ABORTED', 'cancelled while the store was hashed')
    unreported += count
    if (unreported < REPORT_SIZE) continue
    post({ kind: 'bytes', count: unreported })
    unreported = 0
  }
  post({ kind: 'bytes', count: unreported })
  const { hash, found } = digester.result()
  const address = ca === undefined ? undefined : await checkAddress({ baseName, ca, references, node, narHash: hash })
  return { kind: 'found', narHash: hash, narSize: size, references: sortNames([...found]), address }
}
