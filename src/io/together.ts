/** Several things that are done at once, of which none goes on when another has failed. */

type Part = (signal: AbortSignal) => Promise<unknown>

/** Settles when all have. The first error counts, and aborts the signal of the others. */
export async function together(signal: AbortSignal | undefined, parts: readonly Part[]): Promise<void> {
  const failed = new AbortController()
  const either = signal === undefined ? failed.signal : AbortSignal.any([signal, failed.signal])
  let first: { readonly error: unknown } | undefined
  const guarded = parts.map(async (part) => {
    try {
      await part(either)
    } catch (error) {
      first ??= { error }
      failed.abort()
    }
  })
  await Promise.all(guarded)
  if (first !== undefined) throw first.error
}
