/** What appears whole or not at all: whoever else is in the folder, whatever fails, and whenever the process ends. */
import fs, {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openSpool } from '../../src/io/file-target.ts'
import { PARTIAL_NAME, PrivateFolder, removePartialsNow } from '../../src/io/private-folder.ts'
import { recover } from '../../src/io/recover.ts'
import { checkReplaceable, stage } from '../../src/io/staging.ts'
import { run } from '../oracles/tools.ts'
import { removeTree } from '../remove-tree.ts'

let work: string
let out: string
beforeEach(() => {
  work = mkdtempSync(join(tmpdir(), 'kilnix-staging-'))
  out = join(work, 'out')
})
const { fsync, linkSync, openSync, renameSync } = fs
afterEach(() => {
  replaceCalls({})
  removeTree(work)
})

function replaceCalls(calls: Partial<Pick<typeof fs, 'fsync' | 'linkSync' | 'openSync' | 'renameSync'>>): void {
  Object.assign(fs, { fsync, linkSync, openSync, renameSync }, calls)
  syncBuiltinESMExports()
}

const systemError = (code: string): NodeJS.ErrnoException => Object.assign(new Error(code), { code })

/** The kinds of things that appear, and what they are read as. */
const KINDS: readonly [kind: string, make: (place: string, text: string) => void, read: (path: string) => string][] = [
  ['file', (place, text) => writeFileSync(place, text), (path) => readFileSync(path, 'utf8')],
  ['link', (place, text) => symlinkSync(text, place), (path) => readlinkSync(path)],
  [
    'folder',
    (place, text) => {
      mkdirSync(place)
      writeFileSync(join(place, 'file'), text)
    },
    (path) => readFileSync(join(path, 'file'), 'utf8'),
  ],
]
const read = (path: string): string => KINDS[fs.lstatSync(path).isFile() ? 0 : fs.lstatSync(path).isSymbolicLink() ? 1 : 2]?.[2](path) ?? ''

describe.each(KINDS)('a new %s', (_kind, make) => {
  it('appears when it is made, and is nowhere when that fails', async () => {
    await stage(out, {}, async (place) => {
      make(place, 'new')
      expect(readdirSync(work)).toEqual([expect.stringMatching(PARTIAL_NAME)])
    })
    expect(read(out)).toBe('new')
    const failed = stage(join(work, 'failed'), {}, async (place) => {
      make(place, 'half')
      throw new Error('out of ideas')
    })
    await expect(failed).rejects.toThrow('out of ideas')
    expect(readdirSync(work)).toEqual(['out'])
  })

  it('does not replace what came up in the last moment', async () => {
    for (const [, makeOther] of KINDS) {
      await expect(
        stage(out, {}, async (place) => {
          make(place, 'new')
          makeOther(out, 'of another run')
        }),
      ).rejects.toMatchObject({ code: 'EXISTS' })
      expect(read(out)).toBe('of another run')
      expect(readdirSync(work)).toEqual(['out'])
      removeTree(out)
    }
  })

  it('replaces anything by force', async () => {
    for (const [, makeOther] of KINDS) {
      makeOther(out, 'old')
      await stage(out, { force: true }, async (place) => make(place, 'new'))
      expect(read(out)).toBe('new')
      expect(readdirSync(work)).toEqual(['out'])
      removeTree(out)
    }
  })

  it('is taken back where its folder cannot be synced, and what was there is back', async () => {
    const { ino } = statSync(work)
    const failSync = ((descriptor: number, callback: (error: Error | null) => void) => {
      if (fs.fstatSync(descriptor).ino === ino) setImmediate(callback, systemError('EIO'))
      else fsync(descriptor, callback)
    }) as typeof fs.fsync
    for (const makeOther of [undefined, ...KINDS.map(([, one]) => one)]) {
      makeOther?.(out, 'old')
      replaceCalls({ fsync: failSync })
      await expect(stage(out, { force: true }, async (place) => make(place, 'new'))).rejects.toMatchObject({
        code: 'WRITE_FAILED',
        message: expect.stringContaining('EIO'),
      })
      replaceCalls({})
      expect(readdirSync(work)).toEqual(makeOther ? ['out'] : [])
      if (!makeOther) continue
      expect(read(out)).toBe('old')
      removeTree(out)
    }
  })
})

describe('an older result', () => {
  const fill = (path: string, text: string): void => {
    mkdirSync(path)
    writeFileSync(join(path, 'file'), text)
  }

  it('is put back by the next run where one was killed between two renames', async () => {
    fill(out, 'old')
    const partial = join(work, '.kilnix-partial-0aZ9bY')
    mkdirSync(join(partial, 'replaced-0-755'), { recursive: true })
    fs.renameSync(out, join(partial, 'replaced-0-755/out'))
    const notes: string[] = []
    recover(join(work, 'other'))
    expect(existsSync(out)).toBe(false)
    recover(out, (event) => event.kind === 'note' && notes.push(event.message))
    expect(read(out)).toBe('old')
    expect(notes).toEqual([`${out}: what a run that was killed had moved to .kilnix-partial-0aZ9bY is back in its place`])
    // And not over what is there.
    fs.renameSync(out, join(partial, 'replaced-0-755/out'))
    fill(out, 'newer')
    recover(out)
    expect(read(out)).toBe('newer')
    expect(() => checkReplaceable(out, {})).toThrow(/exists already/)
  })

  it.skipIf(process.getuid?.() !== 0)('of another user is not put back', () => {
    const partial = join(work, '.kilnix-partial-0aZ9bY')
    mkdirSync(join(partial, 'replaced-0-755'), { recursive: true })
    fill(join(partial, 'replaced-0-755/out'), 'planted')
    fs.chownSync(partial, 65534, 65534)
    recover(out)
    expect(existsSync(out)).toBe(false)
  })

  it('that was replaced does not come back when the new one is removed', async () => {
    const { unlinkSync } = fs
    fill(out, 'old')
    // As if the run were killed while it removes the old one.
    fs.unlinkSync = (path) => {
      if (String(path).endsWith('/file')) throw systemError('EIO')
      unlinkSync(path)
    }
    syncBuiltinESMExports()
    try {
      await stage(out, { force: true }, async (place) => fill(place, 'new'))
    } finally {
      fs.unlinkSync = unlinkSync
      syncBuiltinESMExports()
    }
    expect(readdirSync(work)).toEqual([expect.stringMatching(PARTIAL_NAME), 'out'])
    expect(read(out)).toBe('new')
    removeTree(out)
    recover(out)
    expect(existsSync(out)).toBe(false)
  })

  it('that cannot be put back is left where the error says', async () => {
    fill(out, 'old')
    let count = 0
    // The first finds the place taken, the second moves the old one away; then nothing works any more.
    replaceCalls({
      renameSync: (from, to) => {
        if (++count > 2) throw systemError('EIO')
        renameSync(from, to)
      },
    })
    const error = await stage(out, { force: true }, async (place) => fill(place, 'new')).catch((one: unknown) => one)
    replaceCalls({})
    expect(error).toMatchObject({ code: 'WRITE_FAILED', message: expect.stringMatching(/it lies at (.*)$/) })
    const [, where = ''] = /it lies at (.*)$/.exec((error as Error).message) ?? []
    expect(read(where)).toBe('old')
  })

  it.skipIf(process.getuid?.() !== 0)('in which something is mounted is not replaced, and the mount is not emptied', async () => {
    const other = join(work, 'other')
    fill(other, 'precious')
    mkdirSync(join(out, 'a/b'), { recursive: true })
    expect(run('mount', ['--bind', other, join(out, 'a/b')]).status).toBe(0)
    const mounted: string[] = []
    try {
      expect(() => checkReplaceable(out, { force: true })).toThrow(new RegExp(`something is mounted at ${join(out, 'a/b')}`))
      // Where it was mounted after the check.
      const notes: string[] = []
      const onProgress = (event: { kind: string; message?: string }): unknown => event.message !== undefined && notes.push(event.message)
      await stage(out, { force: true, onProgress }, async (place) => fill(place, 'new'))
      expect(notes).toEqual([expect.stringMatching(/^\.kilnix-partial-\w{6}: what was replaced.* cannot be removed as a whole \(EBUSY\)$/)])
      expect([read(out), read(other)]).toEqual(['new', 'precious'])
    } finally {
      for (const line of readFileSync('/proc/self/mountinfo', 'utf8').split('\n')) {
        const point = line.split(' ')[4] ?? ''
        if (point.startsWith(work)) mounted.push(point)
      }
      for (const point of mounted) run('umount', [point])
    }
    expect(mounted).toHaveLength(1)
  })
})

describe('a private folder', () => {
  it('is open to nobody else, whatever the umask says, and its name is new each time', () => {
    const umask = process.umask(0)
    try {
      const made = [PrivateFolder.create(work), PrivateFolder.create(work)]
      expect(new Set(made.map(({ name }) => name)).size).toBe(2)
      for (const { name } of made) expect(statSync(join(work, name)).mode & 0o7777).toBe(0o700)
      for (const one of made) one.remove()
      expect(readdirSync(work)).toEqual([])
    } finally {
      process.umask(umask)
    }
  })

  it('is removed with all that is in it, however deep, locked or odd, without a step out of it', () => {
    const victim = join(work, 'victim')
    mkdirSync(victim)
    writeFileSync(join(victim, 'file'), 'precious')
    const made = PrivateFolder.create(work)
    let folder = join(work, made.name)
    for (let depth = 0; depth < 300; depth++) {
      folder = join(folder, 'd')
      mkdirSync(folder)
      if (depth % 50 === 0) symlinkSync(victim, join(folder, 'link'))
      if (depth % 50 === 0) writeFileSync(Buffer.concat([Buffer.from(`${folder}/`), Buffer.from([0xff, 0xfe])]), '')
    }
    for (let depth = 0; depth < 300; depth++) {
      chmodSync(folder, 0)
      folder = join(folder, '..')
    }
    made.remove()
    expect(readdirSync(work)).toEqual(['victim'])
    expect(readFileSync(join(victim, 'file'), 'utf8')).toBe('precious')
  })

  it('is not left by a link that takes the place of a folder in it meanwhile', () => {
    const victim = join(work, 'victim')
    mkdirSync(victim)
    writeFileSync(join(victim, 'file'), 'precious')
    const made = PrivateFolder.create(work)
    const inner = join(work, made.name, 'inner')
    for (const name of ['a', 'b']) mkdirSync(join(inner, name), { recursive: true })
    let exchanged = 0
    replaceCalls({
      openSync: (path, ...rest) => {
        if (String(path).endsWith('/inner') && exchanged++ === 0) {
          renameSync(inner, join(work, 'elsewhere'))
          symlinkSync(victim, inner)
        }
        return openSync(path, ...rest)
      },
    })
    expect(() => made.remove()).toThrow(/ELOOP|ENOTDIR/)
    replaceCalls({})
    expect(exchanged).toBe(1)
    expect(readFileSync(join(victim, 'file'), 'utf8')).toBe('precious')
    expect(readdirSync(join(work, 'elsewhere'))).toEqual(['a', 'b'])
  })

  it('is removed at once when the process is about to end', async () => {
    const under = stage(out, {}, async (place) => {
      writeFileSync(place, 'half')
      removePartialsNow()
      expect(readdirSync(work)).toEqual([])
      throw new Error('ended')
    })
    await expect(under).rejects.toThrow('ended')
  })

  it('holds a scratch file for a moment, which nobody else may open', async () => {
    const opened: [mode: number, folderMode: number][] = []
    const { open } = fs.promises
    fs.promises.open = async (path, ...rest) => {
      const handle = await open(path, ...rest)
      opened.push([(await handle.stat()).mode & 0o777, statSync(join(String(path), '..')).mode & 0o777])
      return handle
    }
    syncBuiltinESMExports()
    const umask = process.umask(0)
    try {
      const spool = await openSpool(work)
      expect(readdirSync(work)).toEqual([])
      await spool.close()
    } finally {
      process.umask(umask)
      fs.promises.open = open
      syncBuiltinESMExports()
    }
    expect(opened).toEqual([[0o600, 0o700]])
  })
})

describe.skipIf(process.getuid?.() !== 0)('an ordinary user', () => {
  const as = async <T>(work: () => Promise<T>): Promise<T> => {
    process.setegid?.(65534)
    process.seteuid?.(65534)
    return work().finally(() => {
      process.seteuid?.(0)
      process.setegid?.(0)
    })
  }

  it('gets folders that not even the owner may write to, with their modes and times', async () => {
    fs.chownSync(work, 65534, 65534)
    for (const force of [false, true]) {
      await as(() =>
        stage(out, { force }, async (place) => {
          mkdirSync(join(place, 'inner'), { recursive: true })
          for (const path of [join(place, 'inner'), place]) {
            chmodSync(path, 0o555)
            fs.utimesSync(path, 1, 1)
          }
        }),
      )
      const { mode, mtimeMs } = statSync(out)
      expect([mode & 0o7777, mtimeMs]).toEqual([0o555, 1000])
      expect(readdirSync(work)).toEqual(['out'])
    }
  })

  it('may write to a folder that it may not list', async () => {
    chmodSync(work, 0o733)
    await as(() => stage(out, {}, async (place) => writeFileSync(place, 'new')))
    chmodSync(work, 0o755)
    expect(readFileSync(out, 'utf8')).toBe('new')
    expect(readdirSync(work)).toEqual(['out'])
  })

  it('does not work in a folder that was exchanged for another', () => {
    chmodSync(work, 0o777)
    const { mkdtempSync: original } = fs
    const planted = join(work, 'planted')
    mkdirSync(planted)
    fs.chownSync(planted, 1234, 1234)
    fs.mkdtempSync = ((prefix: string) => {
      const made = original(prefix)
      rmSync(made, { recursive: true })
      renameSync(planted, made)
      return made
    }) as typeof fs.mkdtempSync
    syncBuiltinESMExports()
    try {
      expect(() => PrivateFolder.create(work)).toThrow(/exchanged/)
    } finally {
      fs.mkdtempSync = original
      syncBuiltinESMExports()
    }
  })
})
