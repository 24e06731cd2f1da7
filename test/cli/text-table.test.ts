/** Columns that fit a terminal, and texts of others that cannot harm it. */

import t from 'tap'
import { harmless, layOut, widthOf } from '../../cli/text-table.ts'

const TABLE = {
  titles: ['NAME', 'COMMENT', 'URL'],
  rows: [
    ['web', 'the shop', 'https://web.example.test/'],
    ['database', '', 'https://database.example.test/'],
  ],
}

t.test('aligns columns and leaves no spaces at the end', (t) => {
  t.same(layOut(TABLE, { hasColours: false }), [
    'NAME      COMMENT   URL',
    'web       the shop  https://web.example.test/',
    'database            https://database.example.test/',
  ])
  t.end()
})

t.test('cuts the widest columns to the width of the terminal, and never the name', (t) => {
  const long = { ...TABLE, rows: [['a-name-of-some-length', 'x'.repeat(60), 'y'.repeat(60)]] }
  const lines = layOut(long, { columns: 60, hasColours: false })
  for (const line of lines) t.ok(widthOf(line) <= 60, line)
  t.match(lines[1], /^a-name-of-some-length {2}x+… {2}y+…$/)
  const narrow = layOut(long, { columns: 10, hasColours: false })
  t.match(narrow[1], /^a-name-of-some-length {2}x{5}… {2}y{5}…$/)
  t.match(layOut(long, { hasColours: false })[1], /x{60} {2}y{60}$/, 'a pipe gets everything')
  t.end()
})

t.test('counts cells, not characters', (t) => {
  t.equal(widthOf('abc'), 3)
  t.equal(widthOf('日本'), 4)
  t.equal(widthOf('👩‍💻'), 2)
  t.equal(widthOf('é'), 1, 'one letter and an accent of its own')
  const lines = layOut(
    {
      titles: ['A', 'B'],
      rows: [
        ['日本', 'x'],
        ['abcd', 'x'],
      ],
    },
    { hasColours: false },
  )
  t.same(lines, ['A     B', '日本  x', 'abcd  x'])
  t.end()
})

t.test('colours the titles alone, and only when told to', (t) => {
  const [titles = '', ...rest] = layOut(TABLE, { hasColours: true })
  t.ok(titles.startsWith('\u001b[1mNAME') && titles.endsWith('\u001b[0m'))
  for (const line of rest) t.notMatch(line, '\u001b')
  t.end()
})

t.test('shows control characters of others instead of sending them to the terminal', (t) => {
  t.equal(harmless('plain é 日本 👩‍💻'), 'plain é 日本 👩‍💻')
  t.equal(harmless('a\u001b[2Jb'), 'a\\u{1b}[2Jb')
  t.equal(harmless('a\nb\r\tc\u0007'), 'a\\u{a}b\\u{d}\\u{9}c\\u{7}')
  t.equal(harmless('a\u009b31mb'), 'a\\u{9b}31mb', 'the one-byte CSI')
  t.equal(harmless('gpj.\u202eexe'), 'gpj.\\u{202e}exe', 'text that runs backwards')
  const lines = layOut({ titles: ['A'], rows: [['x\u001b]0;title\u0007']] }, { hasColours: false })
  t.notMatch(lines.join(), '\u001b')
  t.end()
})
