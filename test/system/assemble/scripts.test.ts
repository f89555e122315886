/** The scripts of a toplevel, run by bash. */
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { preSwitchScript, wrapperScript } from '../../../src/system/assemble/scripts.ts'
import { failure, scratchFolder } from '../../nix/scratch.ts'
import { run, runOk } from '../../oracles/tools.ts'

const scratch = scratchFolder()
const BASH = '/bin/bash'

function program(name: string, text: string): string {
  writeFileSync(scratch(name), text)
  chmodSync(scratch(name), 0o755)
  return scratch(name)
}

describe('the wrapper of switch-to-configuration', () => {
  const values = ['plain', "it's", 'a b  c', '$HOME `x` "y" \\z', '', '*?[a]', "''"]

  it('has the lines of wrapProgram', () => {
    expect(wrapperScript('/bin/sh', [['OUT', '/x']], '/x/bin/.y-wrapped')).toBe(
      '#! /bin/sh -e\nexport OUT=\'/x\'\nexec -a "$0" "/x/bin/.y-wrapped"  "$@" \n',
    )
  })

  it('quotes as bash does, and hands on name, variables and arguments', () => {
    const inner = program('inner', '#!/bin/sh\nprintf "%s\\n" "$VALUE" "$#" "$2"\n')
    for (const value of values) {
      const wrapper = wrapperScript(BASH, [['VALUE', value]], inner)
      const quoted = runOk(BASH, ['-c', `echo "export VALUE=\${1@Q}"`, 'x', value]).text
      expect(wrapper).toContain(quoted)
      expect(runOk(program('wrapper', wrapper), ['one', 'two  words']).text).toBe(`${value}\n2\ntwo  words\n`)
    }
  })

  it('refuses what it cannot quote as bash does', async () => {
    await failure(() => wrapperScript(BASH, [['VALUE', 'a\nb']], '/x'), 'UNSUPPORTED', /VALUE holds other characters/)
  })
})

describe('pre-switch checks', () => {
  it('run in order, see the arguments, write to standard error, and end at the first that fails', () => {
    mkdirSync(scratch('checks'))
    const checks = new Map([
      ['a', `echo "$1 $2" >> ${scratch('log')}\necho seen`],
      ['b', `false\necho not reached >> ${scratch('log')}`],
      ['c', `echo never >> ${scratch('log')}`],
    ])
    const result = run(program('checks/all', preSwitchScript(BASH, checks)), ['/nix/store/new', 'switch'])
    expect({ ...result, stdout: undefined }).toMatchObject({ status: 1, text: '', stderr: "seen\nPre-switch check 'b' failed\n" })
    expect(readFileSync(scratch('log'), 'utf8')).toBe('/nix/store/new switch\n')
    checks.delete('b')
    expect(runOk(program('checks/good', preSwitchScript(BASH, checks)), ['x', 'y']).stderr).toBe('seen\n')
    expect(runOk(program('checks/none', preSwitchScript(BASH, new Map())), []).stderr).toBe('')
  })
})
