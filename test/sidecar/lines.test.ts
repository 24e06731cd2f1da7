/** Output in lines. */

import { PassThrough } from 'node:stream'
import { finished } from 'node:stream/promises'
import t from 'tap'
import { MAX_LINE_CHARACTERS, readLines } from '../../sidecar/lines.ts'

async function linesOf(chunks: readonly (string | Buffer)[]): Promise<string[]> {
  const stream = new PassThrough()
  const lines: string[] = []
  readLines(stream, (line) => lines.push(line))
  for (const chunk of chunks) stream.write(chunk)
  stream.end()
  await finished(stream)
  return lines
}

t.test('gives whole lines however they are cut', async (t) => {
  t.same(await linesOf(['one\ntw', 'o\n\nthr', 'ee']), ['one', 'two', 'three'])
  t.same(await linesOf(['one\r\ntwo\r', '\n']), ['one', 'two'])
})

t.test('puts characters together that were cut', async (t) => {
  const [first, second] = [Buffer.from('grün').subarray(0, 3), Buffer.from('grün').subarray(3)]
  t.same(await linesOf([first, second, '\n']), ['grün'])
})

t.test('keeps no more of a line than the limit', async (t) => {
  const long = 'x'.repeat(10_000)
  const lines = await linesOf([long, long, '\nnext\n', `${long}\n`])
  t.same(
    lines.map((line) => line.length),
    [MAX_LINE_CHARACTERS, 4, MAX_LINE_CHARACTERS],
  )
})

t.test('makes a writer of too much wait, and loses nothing', async (t) => {
  const stream = new PassThrough()
  let count = 0
  readLines(stream, () => {
    count += 1
  })
  stream.write('x\n'.repeat(5_000))
  await new Promise((resolve) => setImmediate(resolve))
  t.equal(stream.isPaused(), true)
  stream.end('x\n'.repeat(10))
  await finished(stream)
  t.equal(count, 5_010)
})
