/** Parsers made of JSON schemas: what they refuse is named by field, in words that the schema itself brings. */

import { type Static, type TObject, type TSchema, Type } from 'typebox'
import { Compile } from 'typebox/compile'
import { Format } from 'typebox/format'
import { RecordInvalid } from '../errors.ts'
import { isDialable, isLabel, isRouteHostname } from './hostname.ts'

Format.Set('label', isLabel)
Format.Set('route-hostname', isRouteHostname)
Format.Set('dialable', isDialable)
Format.Set('instant', isInstant)

/** Turns what JSON gave into a value of the schema's type. @throws RecordInvalid naming the first field at fault */
export type Parser<Value> = (value: unknown) => Value

/** As much as errors need of a schema; every schema of this folder has a `description` that follows "It must be". */
interface Described {
  readonly description?: string
  readonly properties?: Readonly<Record<string, Described>>
  readonly patternProperties?: Readonly<Record<string, Described>>
  readonly items?: Described
  readonly maxItems?: number
  readonly maxProperties?: number
  readonly additionalProperties?: unknown
}

interface Failure {
  readonly keyword: string
  readonly instancePath: string
  readonly params: object
}

/** For what clients send: a field that the schema does not know is refused, at any depth. */
export function createBodyParser<Schema extends TSchema>(schema: Schema): Parser<Static<Schema>> {
  return createOpenParser(toClosed(schema))
}

/** For what anybody may add to: a field that the schema does not know is left as it is. */
export function createOpenParser<Schema extends TSchema>(schema: Schema): Parser<Static<Schema>> {
  const check = Compile(schema)
  return (value) => {
    if (check.Check(value)) return value as Static<Schema>
    checkSizes(schema, value)
    throw refusalOf(schema, check.Errors(value))
  }
}

/**
 * For what the store holds: fields that this version does not know are left out, at any depth, so that a newer writer
 * does not stop older readers.
 */
export function createRecordParser<Schema extends TObject>(schema: Schema): Parser<Static<Schema>> {
  const isExact = Compile(toClosed(schema))
  const parse = createOpenParser(schema)
  return (value) => {
    if (isExact.Check(value)) return Object.freeze({ ...value }) as Static<Schema>
    return Object.freeze(toKnown(schema, parse(value))) as Static<Schema>
  }
}

/** The schema without room for fields that it does not name, save where it names none at all. */
function toClosed<Schema extends Described>(schema: Schema): Schema {
  const { properties, patternProperties, items } = schema
  const isNaming = properties !== undefined && Object.keys(properties).length > 0
  return {
    ...schema,
    ...(isNaming && { properties: mapValues(properties, toClosed), additionalProperties: false }),
    ...(patternProperties && { patternProperties: mapValues(patternProperties, toClosed) }),
    ...(items && { items: toClosed(items) }),
  }
}

/** A value of the schema with the fields that the schema names. */
function toKnown(schema: Described, value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  const { items } = schema
  if (Array.isArray(value)) return items ? value.map((item) => toKnown(items, item)) : value
  if (Object.keys(schema.properties ?? schema.patternProperties ?? {}).length === 0) return value
  const known = Object.entries(value).flatMap(([name, member]) => {
    const inner = findMember(schema, name)
    return inner === undefined || member === undefined ? [] : [[name, toKnown(inner, member)]]
  })
  return Object.fromEntries(known)
}

function mapValues<Value>(
  values: Readonly<Record<string, Value>>,
  map: (value: Value) => Value,
): Readonly<Record<string, Value>> {
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [name, map(value)]))
}

/**
 * Listing all that is wrong with a value takes a millisecond for every thousand members: what has more of them than
 * its schema allows is refused before. @throws RecordInvalid
 */
function checkSizes(schema: Described, value: unknown, pointer = ''): void {
  if (typeof value !== 'object' || value === null) return
  const count = Array.isArray(value) ? value.length : Object.keys(value).length
  if (count > sizeLimitOf(schema, value)) throw tooLarge(schema, value, pointer)
  for (const [name, member] of Object.entries(value)) {
    const inner = Array.isArray(value) ? schema.items : findMember(schema, name)
    if (inner) checkSizes(inner, member, pointerTo(pointer, name))
  }
}

function findMember({ properties = {}, patternProperties }: Described, name: string): Described | undefined {
  if (Object.hasOwn(properties, name)) return properties[name]
  return Object.values(patternProperties ?? {})[0]
}

function tooLarge(schema: Described, value: object, pointer: string): RecordInvalid {
  const { properties = {}, maxProperties, description = 'a JSON object' } = schema
  const isClosed = !Array.isArray(value) && maxProperties === undefined
  const unknown = isClosed ? Object.keys(value).find((name) => !Object.hasOwn(properties, name)) : undefined
  return unknown === undefined
    ? new RecordInvalid(pointer, `It must be ${description}.`)
    : new RecordInvalid(pointerTo(pointer, unknown), unknownField(schema))
}

/** Infinity where nothing is said. */
function sizeLimitOf(
  { properties, items, maxItems, maxProperties, additionalProperties }: Described,
  value: object,
): number {
  if (Array.isArray(value)) return items === undefined ? 0 : (maxItems ?? Number.POSITIVE_INFINITY)
  if (maxProperties !== undefined) return maxProperties
  const isClosed = properties !== undefined && additionalProperties === false
  return isClosed ? Object.keys(properties).length : Number.POSITIVE_INFINITY
}

function refusalOf(schema: TSchema, failures: readonly Failure[]): RecordInvalid {
  const failure = failures.find(({ keyword }) => keyword === 'additionalProperties') ?? failures[0]
  const { keyword = '', instancePath = '', params = {} } = failure ?? {}
  const described = findSchema(schema, instancePath)
  if (keyword === 'additionalProperties' && 'additionalProperties' in params) {
    const [name] = params.additionalProperties as string[]
    return new RecordInvalid(pointerTo(instancePath, name), unknownField(described))
  }
  if (keyword === 'required' && 'requiredProperties' in params) {
    const [name = ''] = params.requiredProperties as string[]
    const what = described?.properties?.[name]?.description ?? 'there'
    return new RecordInvalid(pointerTo(instancePath, name), `It must be ${what}; it is missing.`)
  }
  return new RecordInvalid(instancePath, `It must be ${described?.description ?? 'a JSON object'}.`)
}

function unknownField(described: Described | undefined): string {
  const names = Object.keys(described?.properties ?? {})
  return names.length === 0
    ? `It has no place here: it must be ${described?.description ?? 'another field'}.`
    : `There is no such field, only: ${names.join(', ')}.`
}

/** The schema that a JSON pointer of a value leads to, as deep as it goes. */
function findSchema(schema: Described, pointer: string): Described | undefined {
  let found: Described | undefined = schema
  for (const part of pointer.split('/').slice(1)) {
    const [pattern]: Described[] = Object.values(found?.patternProperties ?? {})
    found = found?.properties?.[part] ?? pattern ?? found?.items
  }
  return found
}

function pointerTo(pointer: string, name = ''): string {
  return `${pointer}/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`
}

function isInstant(text: string): boolean {
  const time = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,3})?Z$/.test(text) ? Date.parse(text) : Number.NaN
  return !Number.isNaN(time)
}

/** One of some texts. */
export function choiceOf<const Choices extends readonly string[]>(choices: Choices) {
  return Type.Unsafe<Choices[number]>({
    type: 'string',
    enum: choices,
    description: `one of "${choices.join('", "')}"`,
  })
}

export const LABEL = Type.String({ format: 'label', description: 'one DNS label in lower case' })
export const HOSTNAME = Type.String({
  format: 'route-hostname',
  description: 'a host name in canonical form',
})
export const PORT = Type.Integer({
  minimum: 1,
  maximum: 65_535,
  description: 'a whole number from 1 to 65535',
})
export const INSTANT = Type.String({
  format: 'instant',
  description: 'a moment in UTC, as "2026-01-31T12:00:00Z"',
})
export const COUNT = Type.Integer({
  minimum: 0,
  maximum: Number.MAX_SAFE_INTEGER,
  description: 'a whole number from 0 up',
})
export const AMOUNT = Type.Number({ minimum: 0, description: 'a number from 0 up' })
/** Opaque names that the API itself makes. */
export const ID = Type.String({
  pattern: '^[A-Za-z0-9_-]{1,64}$',
  description: 'an id of 1–64 of A-Z a-z 0-9 _ -',
})
export const TEXT = Type.String({ maxLength: 200, description: 'a text of at most 200 characters' })
/** Of a host, about a VM. */
export const MESSAGE = Type.String({
  maxLength: 1_000,
  description: 'a text of at most 1,000 characters',
})
