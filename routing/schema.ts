/** Parsers made of JSON schemas: what they refuse is named by field, in words that the schema itself brings. */

import { type Static, type TObject, type TSchema, Type } from 'typebox'
import { Compile } from 'typebox/compile'
import { Format } from 'typebox/format'
import { RecordInvalid } from './errors.ts'
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
}

interface Failure {
  readonly keyword: string
  readonly instancePath: string
  readonly params: object
}

/** For what clients send: a field that the schema does not know is refused. */
export function createBodyParser<Schema extends TSchema>(schema: Schema): Parser<Static<Schema>> {
  const check = Compile(schema)
  return (value) => {
    if (check.Check(value)) return value as Static<Schema>
    throw refusalOf(schema, check.Errors(value))
  }
}

/**
 * For what the store holds: fields that this version does not know are left out, so that a newer writer does not
 * stop older readers.
 */
export function createRecordParser<Schema extends TObject>(schema: Schema): Parser<Static<Schema>> {
  const parse = createBodyParser(schema)
  const names = Object.keys(schema.properties)
  return (value) => {
    const record = parse(value) as Readonly<Record<string, unknown>>
    const known = names.filter((name) => record[name] !== undefined).map((name) => [name, record[name]])
    return Object.freeze(Object.fromEntries(known)) as Static<Schema>
  }
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
