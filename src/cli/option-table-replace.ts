/** The part of the option table that is about replacing paths of a closure. */
import type { Replacement } from '../nix/rewrite/replace.ts'
import type { Option } from './option.ts'
import { flag, text, usage, type ValueType } from './values.ts'

/** `OLD=NEW`. No store path has an equals sign before its name, where a first one may be; the second begins with a slash. */
function replacement(): ValueType<Replacement> {
  const parse = (value: string, option: string): Replacement => {
    const [, oldPath, newPath] = PAIR.exec(value) ?? []
    if (oldPath !== undefined && newPath !== undefined) return { oldPath, newPath }
    throw usage(
      `${option} is '${value}', it must be OLD=NEW, two store paths such as /nix/store/...-openssl-3.0.13=/nix/store/...-openssl-3.0.14`,
    )
  }
  return {
    placeholder: 'OLD=NEW',
    schema: { type: 'string', pattern: PAIR.source },
    parse,
    fromJson: (value, option) => {
      if (typeof value !== 'string') throw usage(`${option} is ${JSON.stringify(value)}, it must be a string`)
      return parse(value, option)
    },
  }
}

/** A trailing slash, as completion leaves it, is dropped. */
const PAIR = /^(\/nix\/store\/[^/]+)\/?=(\/nix\/store\/[^/]+)\/?$/

const COMMANDS = ['replace', 'toplevel', 'iso', 'squashfs', 'netboot', 'serve', 'disk', 'zfs'] as const

export const REPLACE_OPTIONS = {
  replace: {
    type: replacement(),
    group: 'Input',
    commands: COMMANDS,
    required: ['replace'],
    repeatable: true,
    default: [],
    about:
      'Put store path NEW, which is listed as well and has a name as long, in place of OLD: all that refers to OLD is rewritten, down to the system',
  },
  cutoff: {
    type: text('PATH'),
    group: 'Input',
    commands: COMMANDS,
    repeatable: true,
    default: [],
    defaultText: 'the initrds of the systems in the closure',
    about: 'Store path that is not rewritten, whatever it refers to, such as one whose content is compressed; none for no such path',
  },
  wholeStore: {
    type: flag(),
    group: 'Output',
    commands: ['replace', 'toplevel'],
    default: false,
    about: 'Write every path of the closure, not only those that are new, so that the folder can be given as --root',
  },
} as const satisfies Record<string, Option>
