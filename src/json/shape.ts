/**
 * Shapes of JSON documents: how a value is read, with errors that say where, and its JSON Schema (2020-12), side by side so that
 * they agree.
 */

import { quote } from '../bytes/text.ts'
import { badInput } from '../errors.ts'
import { isObject, type JsonObject } from './parse.ts'

export interface Shape<T> {
  readonly schema: JsonObject
  /** The value, checked. Throws BAD_INPUT; `where` is its place. */
  read(value: unknown, where: string): T
}

/** A member of an object. */
export interface Field<T> {
  readonly schema: JsonObject
  readonly isRequired: boolean
  /** `value` is undefined where the member is not there. */
  read(value: unknown, where: string): T
}

// biome-ignore lint/suspicious/noExplicitAny: fields of all kinds
export type Fields = Readonly<Record<string, Field<any>>>

/** What is read of an object. */
export type Read<F extends Fields> = { readonly [K in keyof F]: F[K] extends Field<infer T> ? T : never }

/** A field that has to be there; `about` is for people. */
export function required<T>(shape: Shape<T>, about: string): Field<T> {
  return { ...shape, schema: { ...shape.schema, description: about }, isRequired: true }
}

/** A field that may be left out. */
export function optional<T>(shape: Shape<T>, about: string): Field<T | undefined> {
  return {
    schema: { ...shape.schema, description: about },
    isRequired: false,
    read: (value, where) => (value === undefined ? undefined : shape.read(value, where)),
  }
}

/** A field that has `otherwise` where it is left out. */
export function defaulted<T>(shape: Shape<T>, otherwise: T, about: string): Field<T> {
  return {
    schema: { ...shape.schema, description: about, default: otherwise },
    isRequired: false,
    read: (value, where) => (value === undefined ? otherwise : shape.read(value, where)),
  }
}

/** An object with these fields and no other. `what` names it in messages: `a toplevel`. */
export function object<F extends Fields>(what: string, fields: F): Shape<Read<F>> {
  const names = Object.keys(fields)
  const isRequired = names.filter((name) => fields[name]?.isRequired)
  return {
    schema: {
      type: 'object',
      additionalProperties: false,
      ...(isRequired.length > 0 && { required: isRequired }),
      properties: Object.fromEntries(names.map((name) => [name, fields[name]?.schema])),
    },
    read: (value, where) => {
      if (!isObject(value)) throw badInput(where, `${what} is an object, this is ${kindOf(value)}`)
      const foreign = Object.keys(value).find((key) => !Object.hasOwn(fields, key))
      if (foreign !== undefined) throw badInput(where, `${quote(foreign)} is no field of ${what}; there are ${names.join(', ')}`)
      const missing = isRequired.filter((name) => !Object.hasOwn(value, name))
      if (missing.length > 0) throw badInput(where, `${what} needs ${missing.map(quote).join(', ')}`)
      const read = names.map((name) => [name, fields[name]?.read(Object.hasOwn(value, name) ? value[name] : undefined, below(where, name))])
      return Object.fromEntries(read) as Read<F>
    },
  }
}

/** An object with names of the user's choice. Throws BAD_INPUT where `checkName` does. */
export function map<T>(shape: Shape<T>, checkName: (name: string, where: string) => void): Shape<ReadonlyMap<string, T>> {
  return {
    schema: { type: 'object', additionalProperties: shape.schema },
    read: (value, where) => {
      if (!isObject(value)) throw badInput(where, `is ${kindOf(value)}, an object is needed`)
      return new Map(
        Object.entries(value).map(([name, member]) => {
          checkName(name, where)
          return [name, shape.read(member, below(where, name))]
        }),
      )
    },
  }
}

export function list<T>(shape: Shape<T>): Shape<readonly T[]> {
  return {
    schema: { type: 'array', items: shape.schema },
    read: (value, where) => {
      if (!Array.isArray(value)) throw badInput(where, `is ${kindOf(value)}, an array is needed`)
      return value.map((item: unknown, index) => shape.read(item, `${where}[${index}]`))
    },
  }
}

/** Text for which `fault` says nothing; `about` is what is needed, such as `a name`. */
export function text(
  about = 'text',
  fault: (text: string) => string | undefined = () => undefined,
  schema: JsonObject = {},
): Shape<string> {
  return {
    schema: { type: 'string', ...schema },
    read: (value, where) => {
      if (typeof value !== 'string') throw badInput(where, `is ${kindOf(value)}, ${about} is needed`)
      const reason = fault(value)
      if (reason !== undefined) throw badInput(where, `${quote(value)} is not ${about}: ${reason}`)
      return value
    },
  }
}

export function flag(): Shape<boolean> {
  return {
    schema: { type: 'boolean' },
    read: (value, where) => {
      if (typeof value !== 'boolean') throw badInput(where, `is ${kindOf(value)}, true or false is needed`)
      return value
    },
  }
}

export function wholeNumber(minimum: number, maximum: number): Shape<number> {
  return {
    schema: { type: 'integer', minimum, maximum },
    read: (value, where) => {
      if (typeof value === 'number' && Number.isSafeInteger(value) && value >= minimum && value <= maximum) return value
      throw badInput(where, `is ${JSON.stringify(value)}, a whole number from ${minimum} to ${maximum} is needed`)
    },
  }
}

export function choice<const C extends string>(...choices: readonly C[]): Shape<C> {
  return {
    schema: { enum: choices },
    read: (value, where) => {
      const found = choices.find((candidate) => candidate === value)
      if (found === undefined) throw badInput(where, `is ${quote(JSON.stringify(value))}, one of ${choices.join(', ')} is needed`)
      return found
    },
  }
}

/** Text is read as `one`, anything else as `other`. */
export function textOr<A, B>(one: Shape<A>, other: Shape<B>): Shape<A | B> {
  return {
    schema: { anyOf: [one.schema, other.schema] },
    read: (value, where) => (typeof value === 'string' ? one.read(value, where) : other.read(value, where)),
  }
}

/** Any object, as it is. */
export function anyObject(): Shape<JsonObject> {
  return {
    schema: { type: 'object' },
    read: (value, where) => {
      if (!isObject(value)) throw badInput(where, `is ${kindOf(value)}, an object is needed`)
      return value
    },
  }
}

function below(where: string, name: string): string {
  return `${where}.${/^[\w-]{1,60}$/.test(name) ? name : quote(name)}`
}

/** For messages. */
function kindOf(value: unknown): string {
  if (Array.isArray(value)) return 'an array'
  return value === null ? 'null' : typeof value === 'object' ? 'an object' : `a ${typeof value}`
}
