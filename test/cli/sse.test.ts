/** Server-sent events: bytes in, events out. */

import t from 'tap'
import { readEvents, type ServerEvent } from '../../cli/sse.ts'

async function* chunksOf(...texts: readonly (string | Uint8Array)[]): AsyncGenerator<Uint8Array> {
  for (const text of texts) yield typeof text === 'string' ? Buffer.from(text) : text
}

function read(...texts: readonly (string | Uint8Array)[]): Promise<ServerEvent[]> {
  return Array.fromAsync(readEvents(chunksOf(...texts)))
}

t.test('reads events with their ids, names and data', async (t) => {
  t.same(await read('id: 7\nevent: vm\ndata: {"a":\ndata: 1}\n\n: a comment\n\ndata:x\n\n'), [
    { id: '7', event: 'vm', data: '{"a":\n1}' },
    { id: '7', event: 'message', data: 'x' },
  ])
})

t.test('an id without data counts, once', async (t) => {
  t.same(await read('id: 5\n\n: keep-alive\nid: 5\n\n: keep-alive\nid: 6\n\n'), [
    { id: '5', event: 'message', data: '' },
    { id: '6', event: 'message', data: '' },
  ])
})

t.test('it does not matter where chunks end', async (t) => {
  const bytes = Buffer.from('id: 1\r\nevent: vm\r\ndata: é日\r\n\r\nid: 2\rdata: x\r\rdata: y\n\n')
  const expected = [
    { id: '1', event: 'vm', data: 'é日' },
    { id: '2', event: 'message', data: 'x' },
    { id: '2', event: 'message', data: 'y' },
  ]
  t.same(await read(bytes), expected)
  for (let at = 1; at < bytes.length; at += 1) {
    t.same(await read(bytes.subarray(0, at), bytes.subarray(at)), expected, `cut at ${at}`)
  }
  t.same(await read(...Array.from(bytes, (byte) => Uint8Array.of(byte))), expected)
})

t.test('what is cut off at the end is no event', async (t) => {
  t.same(await read('data: whole\n\ndata: half\n'), [{ id: '', event: 'message', data: 'whole' }])
})

t.test('fields that it does not know, and ids with NUL, are left out', async (t) => {
  t.same(await read('retry: 5\nid: a\0b\nfoo: x\ndata: y\n\n'), [{ id: '', event: 'message', data: 'y' }])
})

t.test('refuses a line without an end', async (t) => {
  async function* endless(): AsyncGenerator<Uint8Array> {
    for (;;) yield Buffer.alloc(4_194_304, 'x')
  }
  await t.rejects(Array.fromAsync(readEvents(endless())), RangeError)
})
