/** Text of strangers on its way to a terminal or a page. */

import t from 'tap'
import { toShown } from '../../lib/shown-text.ts'

t.test('what could forge the picture is replaced, everything else stays', (t) => {
  t.equal(toShown('a\u001b[2Jb\u202ec\nd\u2028e', 100), 'a\u{fffd}[2Jb\u{fffd}c\u{fffd}d\u{fffd}e')
  t.equal(toShown('Zürich, 東京', 100), 'Zürich, 東京')
  t.end()
})

t.test('long text is cut, and says so', (t) => {
  t.equal(toShown('abc', 3), 'abc')
  t.equal(toShown('abcd', 3), 'ab…')
  t.equal(toShown('x'.repeat(10_000_000), 500).length, 500)
  t.end()
})
