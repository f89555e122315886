/** The part of the option table that is about systems assembled from a spec. */
import type { Option } from './option.ts'
import { path } from './values.ts'

export const TOPLEVEL_INPUT = {
  spec: {
    type: path('SPEC.json'),
    group: 'Input',
    commands: ['toplevel'],
    required: ['toplevel'],
    positional: true,
    configurable: false,
    about: 'What the system is made of; kilnix schema toplevel prints the JSON Schema of it',
  },
} as const satisfies Record<string, Option>

export const TOPLEVEL_SPEC = {
  toplevelSpec: {
    type: path('SPEC.json'),
    group: 'Input',
    commands: ['iso', 'squashfs', 'netboot', 'serve', 'disk', 'zfs'],
    defaultText: 'the system is in the closure',
    about: 'Assemble the system from this spec and the parts in the closure, as kilnix toplevel does, and leave out what it does not need',
  },
} as const satisfies Record<string, Option>
