/** The body of an event stream: alive when nothing happens, never ahead of its client, and ended with its source. */

import { text } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import { EventStream } from '../../../routing/api/event-stream.ts'
import { until } from '../../helpers/until.ts'

const NEVER_MS = 1_000_000
const OPENING = 'retry: 1\n'

/** Gives pieces as they are asked for; `end` lets it end. */
function createSource(pieces: Iterable<string> = []) {
  const over = Promise.withResolvers<void>()
  const source = {
    revision: 7,
    taken: 0,
    isAborted: false,
    isFinished: false,
    end: () => over.resolve(),
    async *read(signal: AbortSignal) {
      signal.addEventListener('abort', () => {
        source.isAborted = true
        over.resolve()
      })
      for (const piece of pieces) {
        source.taken += 1
        yield piece
      }
      await over.promise
      source.isFinished = true
    },
  }
  return source
}

function streamFor(t: Test, source: ReturnType<typeof createSource>, keepAliveMs = NEVER_MS): EventStream {
  const stream = new EventStream(source, { opening: OPENING, keepAliveMs })
  t.teardown(() => stream.destroy())
  return stream
}

t.test('passes on what its source gives, and ends with it', async (t) => {
  const source = createSource(['a', '', 'b'])
  source.end()
  t.equal(await text(streamFor(t, source)), `${OPENING}ab`)
})

t.test('says now and then that it is alive, and how far the client has come', async (t) => {
  const source = createSource(['a'])
  const stream = streamFor(t, source, 10)
  let got = ''
  stream.setEncoding('utf8').on('data', (piece: string) => {
    got += piece
  })
  await until(() => got.split(': keep-alive').length > 2, 'two comments')
  t.ok(got.startsWith(`${OPENING}a: keep-alive\nid: 7\n\n: keep-alive\nid: 7\n\n`))
  stream.end()
  await until(() => stream.readableEnded, 'the end')
})

t.test(
  'asks its source for nothing while its client takes nothing, and does not add to the pile',
  async (t) => {
    const piece = 'x'.repeat(1_024)
    const source = createSource(Array.from({ length: 1_000 }, () => piece))
    const stream = streamFor(t, source, 5)
    await until(() => source.taken >= 16, 'a full buffer')
    const held = stream.readableLength
    let beside = ''
    streamFor(t, createSource(), 5)
      .setEncoding('utf8')
      .on('data', (text: string) => {
        beside += text
      })
    await until(() => beside.split(': keep-alive').length > 5, 'five comments of a stream that is read')
    t.ok(source.taken < 20, `${source.taken} pieces were taken`)
    t.equal(stream.readableLength, held, 'no comments meanwhile')
    source.end()
    const got = await text(stream)
    t.equal(got.split('x').length - 1, 1_000 * 1_024)
  },
)

t.test('an end that is asked for is an orderly one', async (t) => {
  const source = createSource(['a'])
  const stream = streamFor(t, source)
  const got = text(stream)
  await until(() => source.taken === 1, 'the first piece')
  stream.end()
  t.equal(await got, `${OPENING}a`)
  t.ok(source.isFinished)
})

t.test('a client that leaves ends the source', async (t) => {
  const source = createSource(['a'])
  const stream = streamFor(t, source)
  await until(() => source.taken === 1, 'the first piece')
  stream.destroy()
  await until(() => source.isFinished, 'the end of the source')
  t.ok(source.isAborted)
})

t.test('a source that fails breaks the stream off', async (t) => {
  const source = {
    revision: 0,
    async *read() {
      yield 'a'
      throw new Error('broken')
    },
  }
  const stream = new EventStream(source, { opening: OPENING, keepAliveMs: NEVER_MS })
  await t.rejects(text(stream), { message: 'broken' })
})
