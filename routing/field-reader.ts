/** Reads the fields of a JSON object and refuses wrong and unknown ones, naming them by JSON pointer. */

import { RecordInvalid } from './errors.ts'

export const PORT_BOUNDS = { min: 1, max: 65_535 } as const

export interface TextRule {
  /** What the field must be, to follow "It must be". */
  readonly what: string
  readonly accepts: (text: string) => boolean
}

/** Every method throws RecordInvalid when the field is missing or wrong. */
export class FieldReader {
  readonly #fields: Readonly<Record<string, unknown>>
  readonly #pointer: string

  /** @throws RecordInvalid for what is not an object, and for a field that is not among `names` */
  constructor(value: unknown, names: readonly string[], pointer = '') {
    if (!isObject(value)) throw new RecordInvalid(pointer, 'It must be a JSON object.')
    this.#fields = value
    this.#pointer = pointer
    const unknown = Object.keys(value).find((name) => !names.includes(name))
    if (unknown === undefined) return
    throw new RecordInvalid(this.#pointerTo(unknown), `There is no such field, only: ${names.join(', ')}.`)
  }

  has(name: string): boolean {
    return this.#read(name) !== undefined
  }

  text(name: string, { what, accepts }: TextRule): string {
    const value = this.#read(name)
    if (typeof value === 'string' && accepts(value)) return value
    return this.#refuse(name, what)
  }

  int(name: string, { min, max = Number.MAX_SAFE_INTEGER }: { min: number; max?: number }): number {
    const value = this.#read(name)
    if (typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max) return value
    return this.#refuse(name, `a whole number from ${min} to ${max}`)
  }

  choice<Choice extends string>(name: string, choices: readonly Choice[]): Choice {
    const value = this.#read(name)
    const found = choices.find((choice) => choice === value)
    return found ?? this.#refuse(name, `one of "${choices.join('", "')}"`)
  }

  /** `parse` is given the field's value and its pointer, and throws RecordInvalid itself. */
  parsed<Parsed>(name: string, parse: (value: unknown, pointer: string) => Parsed): Parsed {
    return parse(this.#read(name), this.#pointerTo(name))
  }

  #read(name: string): unknown {
    return Object.hasOwn(this.#fields, name) ? this.#fields[name] : undefined
  }

  #refuse(name: string, what: string): never {
    const missing = this.has(name) ? '' : '; it is missing'
    throw new RecordInvalid(this.#pointerTo(name), `It must be ${what}${missing}.`)
  }

  #pointerTo(name: string): string {
    return `${this.#pointer}/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`
  }
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
