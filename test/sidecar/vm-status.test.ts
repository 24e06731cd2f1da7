/** The words in which a host says why a VM does not run: short, on one line, and harmless wherever they are shown. */

import t from 'tap'
import { REPORTS } from '../../routing/records/record-kinds.ts'
import { describeEnd, describeStartError, toFailed } from '../../sidecar/vm-status.ts'

const ESC = String.fromCodePoint(27)

function messageOf(text: string): string {
  return toFailed(text).message ?? ''
}

t.test('makes one line of many, and cuts it at 1,000 characters', (t) => {
  t.equal(messageOf('VM one ended\n  no disk\r\n\tgiving up\n'), 'VM one ended no disk giving up')
  t.equal(messageOf('x'.repeat(5_000)), 'x'.repeat(1_000))
  t.end()
})

t.test('bears texts of any size and kind, and the table takes what it makes of them', (t) => {
  const texts = [
    'x'.repeat(10_000_000),
    '\n'.repeat(10_000_000),
    '😀'.repeat(1_000_000),
    `x${'😀'.repeat(1_000)}`,
    '\ud800'.repeat(5_000),
    'e\u0301'.repeat(5_000),
    ESC.repeat(100_000),
    '',
  ]
  for (const text of texts) {
    const before = process.threadCpuUsage()
    const status = toFailed(text)
    t.ok(process.threadCpuUsage(before).user < 1_000_000)
    t.ok((status.message ?? '').length <= 1_000 && status.message?.isWellFormed())
    REPORTS.parse({ name: 'one', host: 'local', generation: 1, ...status })
  }
  t.end()
})

t.test('takes out what moves a cursor, hides text or turns its direction', (t) => {
  t.equal(messageOf(`${ESC}[31mred${ESC}[0m ${ESC}]0;title\u0007 bell`), 'red bell')
  t.equal(messageOf('a\u202eb\u200bc\u0000d\u0085e'), 'a b c d e')
  t.end()
})

t.test('describes an end with the last lines, and an unforeseen error not at all', (t) => {
  t.equal(
    describeEnd({ code: 3, lastLines: ['no disk', 'bye'] }),
    'The VM ended with code 3 and will be started again\nno disk\nbye',
  )
  t.match(describeStartError(new Error('/secret/path')), /^The VM could not be started; the log/)
  t.end()
})
