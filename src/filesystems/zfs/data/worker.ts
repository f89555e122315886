/** A worker thread: packs batches of records from slot to slot. */
import { answerBatches, isStopped, workerSetup } from '../../../codecs/blocks/answer.ts'
import type { PackerSetup } from './protocol.ts'
import { openBatchWork } from './work.ts'

answerBatches(await openBatchWork(workerSetup<PackerSetup>(), isStopped))
