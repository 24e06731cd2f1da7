/** Header field lines: what a name and a value may hold, what is cut off, and how lists are looked into. */

import t from 'tap'
import { findField, hasToken, parseFieldLines } from '../../proxy/field-lines.ts'

function parse(text: string) {
  return parseFieldLines(text.replaceAll('|', '\r\n'), 0)
}

const LINES: readonly (readonly [name: string, text: string, headers: string[]])[] = [
  ['nothing', '', []],
  ['one line', 'A: b', ['A', 'b']],
  ['several lines in their order', 'b: 1|A: 2|b: 3', ['b', '1', 'A', '2', 'b', '3']],
  ['names as they were written', 'cOnTeNt-TyPe: x', ['cOnTeNt-TyPe', 'x']],
  [
    'every character of a token',
    "!#$%&'*+-.^_`|~09azAZ: x".replace('`|', '`'),
    ["!#$%&'*+-.^_`~09azAZ", 'x'],
  ],
  ['no blank before the value', 'A:b', ['A', 'b']],
  ['blanks around the value', 'A: \t b c \t', ['A', 'b c']],
  ['an empty value', 'A:', ['A', '']],
  ['a value of blanks', 'A: \t ', ['A', '']],
  ['colons in the value', 'A: b:c: d', ['A', 'b:c: d']],
  ['a tab inside the value', 'A: b\tc', ['A', 'b\tc']],
  ['bytes above ASCII', 'A: \x80\xff', ['A', '\x80\xff']],
  ['U+00A0 and U+0085 at the ends', 'A: \xa0b\x85', ['A', '\xa0b\x85']],
]

t.test('reads lines', async (t) => {
  for (const [name, text, headers] of LINES) t.same(parse(text).headers, headers, name)
})

t.test('gives the names in lower case beside the fields', async (t) => {
  t.same(parse('B: 1|a: 2').names, ['b', 'a'])
})

t.test('starts where it is told to', async (t) => {
  t.same(parseFieldLines('HTTP/1.1 200 OK\r\nA: b', 17).headers, ['A', 'b'])
})

const WRONG: readonly (readonly [name: string, text: string])[] = [
  ['a line without a colon', 'A'],
  ['a second line without a colon', 'A: b|C'],
  ['a colon only on the next line', 'A|B: c'],
  ['no name', ': b'],
  ['a space before the colon', 'A : b'],
  ['a tab before the colon', 'A\t: b'],
  ['a space before the name', ' A: b'],
  ['a folded line', 'A: b| c: d'],
  ['an empty line', 'A: b||C: d'],
  ['a slash in the name', 'A/B: c'],
  ['a quote in the name', '"A": b'],
  ['a high byte in the name', 'A\xe9: b'],
  ['NUL in the name', 'A\0: b'],
  ['NUL in the value', 'A: b\0'],
  ['a bell in the value', 'A: \x07'],
  ['DEL in the value', 'A: \x7f'],
  ['a bare LF in the value', 'A: b\nC: d'],
  ['a bare CR in the value', 'A: b\rC: d'],
  ['a bare CR at the end of the value', 'A: b\r|C: d'],
  ['a vertical tab before the value', 'A: \x0bb'],
]

t.test('refuses lines that are none', async (t) => {
  for (const [name, text] of WRONG) t.throws(() => parse(text), { code: 'upstream_invalid' }, name)
})

t.test('finds the first field of a name, in any case, among names and values', async (t) => {
  const fields = ['A', 'x-b', 'X-B', 'first', 'x-b', 'second', 'empty', '']
  t.equal(findField(fields, 'x-b'), 'first')
  t.equal(findField(fields, 'empty'), '')
  t.equal(findField(fields, 'first'), undefined, 'a value is no name')
  t.equal(findField(fields, 'x_b'), undefined)
  t.equal(findField([], 'a'), undefined)
})

const LISTS: readonly (readonly [list: string, hasIt: boolean])[] = [
  ['close', true],
  ['Close', true],
  ['keep-alive, close', true],
  ['close,x', true],
  [' \tclose\t ,', true],
  [',,close', true],
  ['', false],
  [',', false],
  ['closed', false],
  ['not close', false],
  ['close;q=1', false],
  ['"close"', false],
  ['close\xa0', false],
  ['\x0bclose', false],
]

t.test('finds a token in a comma-separated list', async (t) => {
  for (const [list, hasIt] of LISTS) t.equal(hasToken(list, 'close'), hasIt, JSON.stringify(list))
})
