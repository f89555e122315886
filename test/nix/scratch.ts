/** A folder for one test file, removed afterwards. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect } from 'vitest'
import { type ErrorCode, ImageError } from '../../src/errors.ts'

/** Call at the top of a test file; the result gives paths in the folder while its tests run. */
export function scratchFolder(): (...parts: string[]) => string {
  let folder = ''
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'kilnix-test-'))
  })
  afterAll(() => {
    rmSync(folder, { recursive: true, force: true })
  })
  return (...parts) => join(folder, ...parts)
}

/** The ImageError that `action` ends with; its code and message are checked. */
export async function failure(action: () => unknown, code: ErrorCode, message: RegExp): Promise<ImageError> {
  try {
    await action()
  } catch (error) {
    expect(error, String(error)).toBeInstanceOf(ImageError)
    const { message: text, code: actual } = error as ImageError
    expect(text).toMatch(message)
    expect(actual, text).toBe(code)
    return error as ImageError
  }
  throw new Error(`no error, but ${code} was expected (${message})`)
}
