/** Values of options that name datasets and properties. */
import { usage, type ValueType } from './values.ts'

export interface DatasetValue {
  readonly name: string
  readonly mount?: string
  readonly properties: Readonly<Record<string, string>>
}

const DATASET_FORM = 'NAME[:MOUNT][,PROPERTY=VALUE...]'

/** A colon before a slash ends NAME, which may hold others; a comma in a value is written `\\,`. */
export function dataset(): ValueType<DatasetValue> {
  return spelled(DATASET_FORM, (value, option) => {
    const [place = '', ...rest] = splitAtCommas(value)
    const colon = place.indexOf(':/')
    const name = colon < 0 ? place : place.slice(0, colon)
    const properties: Record<string, string> = {}
    for (const part of rest) {
      const [key, setting] = keyAndValue(part) ?? []
      if (key === undefined || setting === undefined) throw usage(`${option} is '${value}': '${part}' is not PROPERTY=VALUE`)
      if (properties[key] !== undefined) throw usage(`${option} is '${value}': ${key} is given twice`)
      properties[key] = setting
    }
    if (name === '') throw usage(`${option} is '${value}', it must be ${DATASET_FORM}, such as tank/home:/home,atime=on`)
    return { name, properties, ...(colon >= 0 && { mount: place.slice(colon + 1) }) }
  })
}

export interface SnapshotValue {
  readonly dataset: string
  readonly name: string
  readonly state: 'empty' | 'populated'
}

export function snapshot(): ValueType<SnapshotValue> {
  return spelled('DATASET@NAME[=populated]', (value, option) => {
    const [, dataset, name, state = 'empty'] = /^([^@=]+)@([^@=]+)(?:=(empty|populated))?$/.exec(value) ?? []
    if (dataset !== undefined && name !== undefined && (state === 'empty' || state === 'populated')) return { dataset, name, state }
    throw usage(`${option} is '${value}', it must be DATASET@NAME or DATASET@NAME=populated, such as tank/system/root@blank`)
  })
}

/** A name and what follows the first equals sign. */
export function property(placeholder: string): ValueType<readonly [name: string, value: string]> {
  return spelled(placeholder, (value, option) => {
    const parts = keyAndValue(value)
    if (parts !== undefined) return parts
    throw usage(`${option} is '${value}', it must be ${placeholder}, such as atime=off`)
  })
}

function spelled<T>(placeholder: string, parse: (value: string, option: string) => T): ValueType<T> {
  return {
    placeholder,
    schema: { type: 'string', minLength: 1 },
    parse,
    fromJson: (value, option) => {
      if (typeof value !== 'string') throw usage(`${option} must be a string of the form ${placeholder}`)
      return parse(value, option)
    },
  }
}

function keyAndValue(text: string): readonly [string, string] | undefined {
  const at = text.indexOf('=')
  return at <= 0 ? undefined : [text.slice(0, at), text.slice(at + 1)]
}

function splitAtCommas(text: string): string[] {
  return text.split(/(?<!\\),/).map((part) => part.replaceAll('\\,', ','))
}
