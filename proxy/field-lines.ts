/** Header field lines (RFC 9110 section 5): parsing them strictly and looking into them. */

import { RelayError, upstreamInvalid } from './errors.ts'

export interface FieldLines {
  /** Names as written and values, alternating. */
  readonly headers: readonly string[]
  /** The names in lower case, one per pair of `headers`. */
  readonly names: readonly string[]
}

const MAX_FIELDS = 1_000
export const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
/** RFC 9110 section 5.5: visible ASCII, obs-text, space and tab; no other control character. */
export const FIELD_VALUE = /^[\t\x20-\x7e\x80-\xff]*$/

/** Reads `name: value` lines of a VM from `start` to the end of `text`. @throws RelayError upstream_invalid */
export function parseFieldLines(text: string, start: number): FieldLines {
  const headers: string[] = []
  const names: string[] = []
  for (let at = start; at < text.length; ) {
    const found = text.indexOf('\r\n', at)
    const end = found < 0 ? text.length : found
    const colon = text.indexOf(':', at)
    if (colon <= at || colon >= end) throw upstreamInvalid('header line without a name')
    const name = text.slice(at, colon)
    const value = sliceTrimmed(text, colon + 1, end)
    if (!TOKEN.test(name)) throw upstreamInvalid('header name')
    if (!FIELD_VALUE.test(value)) throw upstreamInvalid(`value of ${name}`)
    headers.push(name, value)
    names.push(name.toLowerCase())
    at = end + 2
  }
  if (names.length > MAX_FIELDS)
    throw new RelayError('upstream_header_too_large', { detail: 'too many fields' })
  return { headers, names }
}

/** Cuts space and tab only: String.trim would also take U+00A0, which is obs-text here. */
function sliceTrimmed(text: string, start: number, end: number): string {
  let from = start
  let to = end
  while (from < to && isBlank(text.charCodeAt(from))) from += 1
  while (to > from && isBlank(text.charCodeAt(to - 1))) to -= 1
  return text.slice(from, to)
}

function isBlank(code: number): boolean {
  return code === 32 || code === 9
}

/** The items of a comma-separated list in lower case, without the blanks around them. */
export function toTokens(list: string): string[] {
  return list.split(',').map((item) => sliceTrimmed(item, 0, item.length).toLowerCase())
}

/** Whether a comma-separated list holds `token` (given in lower case), in any case. */
export function hasToken(list: string, token: string): boolean {
  return list !== '' && list.toLowerCase().includes(token) && toTokens(list).includes(token)
}

/** All values of the fields called `name` (lower case), joined with commas; empty when there is none. */
export function joinFields({ headers, names }: FieldLines, name: string): string {
  let joined = ''
  for (let at = names.indexOf(name); at >= 0; at = names.indexOf(name, at + 1))
    joined += `,${headers[at * 2 + 1]}`
  return joined
}

/** All values of the fields called `name` (lower case) in an alternating list, as one list. */
export function findList(rawHeaders: readonly string[], name: string): string | undefined {
  let list: string | undefined
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    if (rawHeaders[at]?.toLowerCase() === name)
      list = list === undefined ? rawHeaders[at + 1] : `${list}, ${rawHeaders[at + 1]}`
  }
  return list
}

/** The value of the first field called `name` (lower case) in an alternating list. */
export function findField(rawHeaders: readonly string[], name: string): string | undefined {
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const candidate = rawHeaders[at]
    if (candidate?.length === name.length && candidate.toLowerCase() === name) return rawHeaders[at + 1]
  }
  return undefined
}

/** `name: value` lines of an alternating list, each ending in CRLF. */
export function toLines(fields: readonly string[]): string {
  let lines = ''
  for (let at = 0; at + 1 < fields.length; at += 2) lines += `${fields[at]}: ${fields[at + 1]}\r\n`
  return lines
}
