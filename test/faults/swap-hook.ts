/**
 * Loaded before all else (`node --import`), into worker threads too: of the files that are attacked some openings, by their
 * number, get another file of the same size, as if somebody had put it there in between.
 *
 * The folder SWAP_FOLDER holds `targets.json`, path to other file, and `run.json`, which says what is done now.
 */
import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'

/** What is done in one run. */
export interface SwapRun {
  /** No other run has the same. */
  readonly id: number
  /** The path that is attacked; undefined where openings are counted only. */
  readonly path?: string
  /** Numbers of openings, from 1 on. */
  readonly bad: readonly number[]
}

const { openSync, readFileSync, mkdirSync } = fs
const { open, readFile } = fs.promises
const folder = process.env.SWAP_FOLDER ?? ''
const targets = new Map(Object.entries(JSON.parse(readFileSync(`${folder}/targets.json`, 'utf8')) as Record<string, string>))

/** Openings in all threads are counted together: a folder can be made once. */
function opening(run: SwapRun, path: string): number {
  for (let number = 1; ; number++) {
    try {
      mkdirSync(`${folder}/counts/${run.id}-${encodeURIComponent(path)}-${number}`)
      return number
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    }
  }
}

function swapped<P>(path: P): P | string {
  const text = String(path)
  const other = targets.get(text)
  if (other === undefined) return path
  const run = JSON.parse(readFileSync(`${folder}/run.json`, 'utf8')) as SwapRun
  const number = opening(run, text)
  return run.path === text && run.bad.includes(number) ? other : path
}

Object.assign(fs, {
  openSync: (path: fs.PathLike, flags: fs.OpenMode, mode?: fs.Mode) => openSync(swapped(path), flags, mode),
  readFileSync: (path: fs.PathOrFileDescriptor, options?: undefined) => readFileSync(swapped(path), options),
})
Object.assign(fs.promises, {
  open: (path: fs.PathLike, ...rest: []) => open(swapped(path), ...rest),
  readFile: (path: fs.PathLike, options?: undefined) => readFile(swapped(path), options),
})
syncBuiltinESMExports()
