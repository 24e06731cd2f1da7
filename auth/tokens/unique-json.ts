/** Reads JSON objects in which no member stands twice: RFC 7515 section 4 and RFC 7519 section 4 allow refusing them. */

export type JsonObject = Readonly<Record<string, unknown>>

/** `reason` is a word or two for the log. */
export class JsonError extends Error {
  readonly reason: 'no-json' | 'no-object' | 'duplicate-member'

  constructor(reason: JsonError['reason'], options?: ErrorOptions) {
    super(reason, options)
    this.name = 'JsonError'
    this.reason = reason
  }
}

const QUOTE = 0x22
const COLON = 0x3a
const BACKSLASH = 0x5c

/**
 * Parsers differ in which of two equal members counts, so a text that has them means two things. Linear in the length
 * of the text. @throws JsonError
 */
export function parseUniqueJson(text: string): JsonObject {
  const value = parseJson(text)
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new JsonError('no-object')
  // The parser keeps one of equal members, however they are spelled: "a" and "\u0061" are one.
  if (countWrittenMembers(text) !== countKeptMembers(value)) throw new JsonError('duplicate-member')
  return value as JsonObject
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new JsonError('no-json', { cause })
  }
}

/** Of a well-formed text: each member has one colon outside of strings. */
function countWrittenMembers(text: string): number {
  let count = 0
  for (let index = 0; index < text.length; index += 1) {
    const unit = text.charCodeAt(index)
    if (unit === COLON) count += 1
    else if (unit === QUOTE) index = findStringEnd(text, index)
  }
  return count
}

/** Of a string that begins at `start`; a well-formed text has an end. */
function findStringEnd(text: string, start: number): number {
  let index = start + 1
  while (index < text.length && text.charCodeAt(index) !== QUOTE) {
    index += text.charCodeAt(index) === BACKSLASH ? 2 : 1
  }
  return index
}

function countKeptMembers(root: object): number {
  let count = 0
  const open: object[] = [root]
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const values: unknown[] = Array.isArray(next) ? next : Object.values(next)
    if (!Array.isArray(next)) count += values.length
    for (const value of values) if (typeof value === 'object' && value !== null) open.push(value)
  }
  return count
}
