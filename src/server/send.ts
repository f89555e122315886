/** Sends one answer with bounded memory: a portion is read, and taken by the system before the next is read. */
import type { ServerResponse } from 'node:http'
import type { Image } from '../io/image.ts'
import { imageChunks } from '../io/stream.ts'
import type { DropReason } from './events.ts'
import { type ResponsePlan, textPlan } from './response-plan.ts'

/** What is read and written at a time for one client, in bytes. */
const PORTION_SIZE = 128 << 10

/** Chunks of fewer bytes are gathered up to this many and written together. */
const SMALL_SIZE = 8 << 10
const GATHERED_SIZE = 32 << 10

/** The last bytes of an image, which wait until it is read to its end. Fewer than SMALL_SIZE. */
const TAIL_SIZE = 1 << 10

export interface SendOptions {
  readonly isHead: boolean
  /** A client that takes nothing for as long is dropped. */
  readonly idleMilliseconds: number
  readonly onReadError: (error: unknown) => void
  /** Whether the client has a portion to take: told before and after each. */
  readonly onGive: (isUnderWay: boolean) => void
}

export interface Sent {
  readonly status: number
  /** Of the content; given to the system, which may not have sent all. */
  readonly bytes: number
  /** Undefined: the answer is whole. */
  readonly reason: Exclude<DropReason, 'shutdown'> | undefined
}

/** Never throws: whatever happens ends the answer, and with it the reading. */
export async function sendResponse(response: ServerResponse, plan: ResponsePlan, options: SendOptions): Promise<Sent> {
  let reason: Sent['reason'] = 'disconnected'
  // The end of the connection is seen as 'close'; the error tells nothing more.
  response.on('error', () => undefined)
  response.on('timeout', () => {
    reason = 'stalled'
    response.destroy()
  })
  const portions = options.isHead || plan.content === undefined ? noPortions() : portionsOf(plan.content)
  let bytes = 0
  // The first versions of Node 24 end an answer without an error where the connection has broken before.
  let isBroken = false
  try {
    // The first portion comes before the head: when it cannot be read, the answer can still be another one.
    let next = await portions.next()
    if (response.destroyed) return { status: plan.status, bytes, reason }
    response.writeHead(plan.status, plan.fields)
    for (; !next.done && !response.destroyed; next = await portions.next()) {
      const portion = next.value
      isBroken = !(await settled(response, options, (done) => response.write(portion, done)))
      if (isBroken) break
      bytes += portion.length
    }
  } catch (error) {
    if (response.destroyed) return { status: plan.status, bytes, reason }
    options.onReadError(error)
    if (!response.headersSent) return sendResponse(response, textPlan(500), options)
    response.destroy()
    return { status: plan.status, bytes, reason: 'unreadable' }
  } finally {
    // What closing a file may still find out does not matter any more.
    await portions.return().catch(() => undefined)
  }
  const isWhole = !isBroken && !response.destroyed && (await settled(response, options, (done) => response.end(done)))
  return { status: plan.status, bytes, reason: isWhole ? undefined : reason }
}

type Done = (error?: Error | null) => void

/**
 * Runs `write` and waits until the system has all of it; false when the connection closes before. A client that takes
 * nothing meanwhile gives 'timeout'.
 */
function settled(response: ServerResponse, { idleMilliseconds, onGive }: SendOptions, write: (done: Done) => void): Promise<boolean> {
  return new Promise((resolve) => {
    const { socket } = response
    const onClose = (): void => resolve(false)
    response.once('close', onClose)
    // Node takes any progress of a write that is under way as activity.
    socket?.setTimeout(idleMilliseconds)
    onGive(true)
    write((error) => {
      onGive(false)
      response.off('close', onClose)
      // The time that a disk takes is not the client's; after an answer Node sets a time of its own.
      if (!response.writableEnded) socket?.setTimeout(0)
      resolve(!error)
    })
  })
}

/**
 * The image in portions, each good until the next is asked for: views of large chunks, small ones together. The tail
 * comes when all is read, so that a client never has the whole of a file that turned out wrong at its end.
 */
async function* portionsOf(image: Image): AsyncGenerator<Uint8Array, void> {
  const buffer = Buffer.allocUnsafeSlow(Math.min(image.size, PORTION_SIZE))
  const held = Buffer.allocUnsafeSlow(Math.min(image.size, GATHERED_SIZE))
  let heldLength = 0
  let position = 0
  for await (const chunk of imageChunks(image, { buffer })) {
    position += chunk.length
    for (const view of viewsOf(chunk, position === image.size)) {
      const isHeld = view.length < SMALL_SIZE
      if (heldLength > 0 && (!isHeld || heldLength + view.length > held.length)) {
        yield held.subarray(0, heldLength)
        heldLength = 0
      }
      if (isHeld) {
        held.set(view, heldLength)
        heldLength += view.length
      } else yield view
    }
  }
  if (heldLength > 0) yield held.subarray(0, heldLength)
}

function* viewsOf(chunk: Uint8Array, isLast: boolean): Generator<Uint8Array> {
  const end = isLast ? Math.max(0, chunk.length - TAIL_SIZE) : chunk.length
  for (let at = 0; at < end; at += PORTION_SIZE) yield chunk.subarray(at, Math.min(end, at + PORTION_SIZE))
  if (isLast) yield chunk.subarray(end)
}

async function* noPortions(): AsyncGenerator<Uint8Array, void> {}
