/** Every test file is in one project, by the rules of `projects.ts`. */
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { bootsMachines, filesOf, isApart, isListed, ROOT, TEST_FILES, UNIT } from './projects.ts'

const text = (file: string): string => readFileSync(join(ROOT, file), 'utf8')

describe('the projects of the tests', () => {
  it('have every file once', () => {
    expect([...filesOf('unit'), ...filesOf('oracle'), ...filesOf('e2e')].sort()).toEqual(TEST_FILES)
    expect(TEST_FILES).toContain('test/projects.test.ts')
  })

  it('list tests that are there, each once', () => {
    const useless = UNIT.filter((entry) => TEST_FILES.filter((file) => isListed(file, entry)).length === 0)
    const twice = TEST_FILES.filter((file) => UNIT.filter((entry) => isListed(file, entry)).length > 1)
    expect({ useless, twice }).toEqual({ useless: [], twice: [] })
    expect(UNIT).toEqual([...UNIT].sort())
  })

  it('need no tool and no machine in the fast tier', () => {
    const tools = /\boracle\(|oracles\/tools\.ts'|\b(?:spawn|execFile)(?:Sync)?\(\s*['"]/
    const asks = (file: string): boolean => bootsMachines(text(file)) || tools.test(text(file))
    expect(filesOf('unit').filter((file) => file !== 'test/projects.test.ts' && asks(file))).toEqual([])
    expect(asks('test/e2e/disk.test.ts')).toBe(true)
    expect(asks('test/disks/gpt.test.ts')).toBe(true)
    expect(asks('test/tree/host-file.test.ts')).toBe(true)
  })

  it('have all machines in e2e', () => {
    const others = [...filesOf('unit'), ...filesOf('oracle')].filter((file) => /from '.*\/(machine|qemu)\.ts'/.test(text(file)))
    expect(others).toEqual([])
    expect(filesOf('e2e')).toContain('test/e2e/live-iso.test.ts')
  })

  it('share processes: whoever changes one for others is apart, and what tests import registers nothing by itself', () => {
    expect(isApart('test/threads/pool.test.ts')).toBe(true)
    expect(isApart('test/bytes/text.test.ts')).toBe(false)
    const supports = globSync('test/**/*.ts', { cwd: ROOT }).filter(
      (file) => !file.endsWith('.test.ts') && file !== 'test/shared-process.ts',
    )
    expect(supports.length).toBeGreaterThan(50)
    expect(supports.filter((file) => /^(?:before|after)(?:Each|All)\(/m.test(text(file)))).toEqual([])
  })
})
