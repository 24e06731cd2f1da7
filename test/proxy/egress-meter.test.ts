/** The size of heads and trailers is what HTTP/1.1 writes of them. */

import t from 'tap'
import { fieldBytes, headBytes } from '../../proxy/egress-meter.ts'

t.test('a head is as large as its text', (t) => {
  const heads = [
    ['HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nx-empty: \r\n\r\n', 'OK'],
    ['HTTP/1.1 204 No Content\r\n\r\n', 'No Content'],
    ['HTTP/1.1 103 \r\nlink: </a.css>; rel=preload\r\n\r\n', ''],
    ['HTTP/1.1 200 Fünf\r\nx-\u00ff: \u00e4\u00f6\r\n\r\n', 'Fünf'],
  ]
  for (const [text = '', reason = ''] of heads) t.equal(headBytes(reason, fieldsOf(text)), text.length, text)
  t.end()
})

t.test('trailers are as large as their lines', (t) => {
  t.equal(fieldBytes([]), 0)
  t.equal(fieldBytes(['x-sum', 'abc', 'x-b', '']), 'x-sum: abc\r\nx-b: \r\n'.length)
  t.end()
})

function fieldsOf(head: string): string[] {
  return head
    .trimEnd()
    .split('\r\n')
    .slice(1)
    .flatMap((line) => {
      const at = line.indexOf(':')
      return [line.slice(0, at), line.slice(at + 1).trim()]
    })
}
