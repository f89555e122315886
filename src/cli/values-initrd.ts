/** Values of `kilnix initrd` alone. */
import type { SpecialNode } from '../images/initrd.ts'
import { splitTarget, TARGET_PATTERN, usage, type ValueType } from './values.ts'

const FORM = 'TARGET=c|b:MAJOR:MINOR[:MODE[:UID[:GID]]]'
const DEVICE = /^([cb]):([0-9]{1,10}):([0-9]{1,10})(?::([0-7]{3,4})(?::([0-9]{1,10})(?::([0-9]{1,10}))?)?)?$/
const PIPE = /^(p)()()(?::([0-7]{3,4})(?::([0-9]{1,10})(?::([0-9]{1,10}))?)?)?$/
const KINDS = { c: 'characterDevice', b: 'blockDevice', p: 'fifo' } as const

/** A device by its numbers, or `p` for a pipe, with an octal mode and a numeric owner and group. */
export function nodeValue(): ValueType<SpecialNode> {
  const parse = (value: string, option: string): SpecialNode => {
    const [target, rest] = splitTarget(value, option, FORM, '/dev/console=c:5:1')
    const [, letter, major, minor, mode, uid, gid] = DEVICE.exec(rest) ?? PIPE.exec(rest) ?? []
    if (letter === undefined) throw usage(`${option} is '${value}', it must be ${FORM}, such as /dev/console=c:5:1 or /dev/null=c:1:3:0666`)
    return {
      target,
      kind: KINDS[letter as keyof typeof KINDS],
      ...(letter !== 'p' && { major: Number(major), minor: Number(minor) }),
      ...(mode !== undefined && { mode: Number.parseInt(mode, 8) }),
      ...(uid !== undefined && { uid: Number(uid) }),
      ...(gid !== undefined && { gid: Number(gid) }),
    }
  }
  return {
    placeholder: FORM,
    schema: { type: 'string', pattern: TARGET_PATTERN },
    parse,
    fromJson: (value, option) => {
      if (typeof value !== 'string') throw usage(`${option} must be a string`)
      return parse(value, option)
    },
  }
}
