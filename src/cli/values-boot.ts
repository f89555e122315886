/** Values that boot menus alone take. */
import { resolve } from 'node:path'
import type { MenuAddition } from '../boot/further.ts'
import { usage, type ValueType } from './values.ts'
import { fromWorkingFolder } from './working-folder.ts'

const FORM = 'TITLE=FILE|next-device'
const PATTERN = /^((?:[^\\=]|\\[\\=])+)=(.+)$/s

/** A title and what it starts; an equals sign within TITLE is written `\=`. A file of the name next-device is `./next-device`. */
export function menuAddition(): ValueType<MenuAddition> {
  const parse = (value: string, option: string, pathOf: (file: string) => string): MenuAddition => {
    const [, title, start] = PATTERN.exec(value) ?? []
    if (title === undefined || start === undefined || start.includes('\0')) {
      throw usage(`${option} is '${value}', it must be ${FORM}, such as 'Memtest86+=./memtest86plus.efi'`)
    }
    const plain = title.replace(/\\([\\=])/g, '$1')
    return start === 'next-device' ? { title: plain, nextDevice: true } : { title: plain, file: pathOf(start) }
  }
  return {
    placeholder: FORM,
    schema: { type: 'string', pattern: PATTERN.source },
    parse: (value, option) => parse(value, option, (file) => fromWorkingFolder(file, option)),
    fromJson: (value, option, folder) => {
      if (typeof value !== 'string') throw usage(`${option} must be a string`)
      return parse(value, option, (file) => resolve(folder, file))
    },
  }
}
