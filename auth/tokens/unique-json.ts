/** Reads JSON objects in which no member stands twice: RFC 7515 section 4 and RFC 7519 section 4 allow refusing them. */

export type JsonObject = Readonly<Record<string, unknown>>

/** `reason` is a word or two for the log. */
export class JsonError extends Error {
  readonly reason: 'no-json' | 'no-object' | 'duplicate-member' | 'escaped-member'

  constructor(reason: JsonError['reason'], options?: ErrorOptions) {
    super(reason, options)
    this.name = 'JsonError'
    this.reason = reason
  }
}

const QUOTE = 0x22
const COLON = 0x3a
const BACKSLASH = 0x5c
const ESCAPE = /\\(?:u([0-9a-fA-F]{4})|.)/g
/** RFC 8259 section 7: quote, backslash, and what comes before the space. */
const MUST_BE_ESCAPED = /["\\]|[^ -\uffff]/

/**
 * Parsers differ in which of two equal members counts, so a text that has them means two things. A name with a quote, a
 * backslash or a control character is refused: V8 14 may read an escape in a name as the name that the same place had
 * in an earlier text, such as `"\u0061"` as `"\\"`. Linear in the length of the text. @throws JsonError
 */
export function parseUniqueJson(written: string): JsonObject {
  const text = spellPlainly(written)
  const value = parseJson(text)
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new JsonError('no-object')
  // The parser keeps one of equal members.
  if (countWrittenMembers(text) !== countKeptMembers(value)) throw new JsonError('duplicate-member')
  return value as JsonObject
}

/** The same JSON without the escapes that RFC 8259 section 7 does not ask for, so that equal names are spelled alike. */
function spellPlainly(written: string): string {
  if (!written.includes('\\')) return written
  // Outside of strings an escape is no JSON, and must not become some.
  parseJson(written)
  return written.replace(ESCAPE, (whole: string, hex: string | undefined) => {
    if (whole === '\\/') return '/'
    const char = hex === undefined ? '' : String.fromCharCode(Number.parseInt(hex, 16))
    return char === '' || MUST_BE_ESCAPED.test(char) ? whole : char
  })
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new JsonError('no-json', { cause })
  }
}

/** Of a well-formed text: each member has one colon outside of strings, and its name before it. @throws JsonError */
function countWrittenMembers(text: string): number {
  let count = 0
  let name = ''
  for (let index = 0; index < text.length; index += 1) {
    const unit = text.charCodeAt(index)
    if (unit === COLON) {
      if (name.includes('\\')) throw new JsonError('escaped-member')
      count += 1
    } else if (unit === QUOTE) {
      const end = findStringEnd(text, index)
      name = text.slice(index, end)
      index = end
    }
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
