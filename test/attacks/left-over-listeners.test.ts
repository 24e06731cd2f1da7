/**
 * A client that sends refused uploads over one connection, again and again. A proxy that hangs a listener on the
 * socket for each of them keeps every request in memory until the connection ends. Nothing may be left behind.
 */

import t from 'tap'
import { edgeFor } from '../helpers/edge.ts'
import { until } from '../helpers/until.ts'

t.test('refused uploads leave no listener on the connection', async (t) => {
  const edge = await edgeFor(t)
  const warnings: string[] = []
  const onWarning = (warning: Error) => warnings.push(warning.name)
  process.on('warning', onWarning)
  t.teardown(() => process.off('warning', onWarning))
  const socket = await edge.dialPlain()
  let text = ''
  socket.on('data', (chunk: Buffer) => {
    text += chunk.toString('latin1')
  })
  for (let round = 1; round <= 15; round += 1) {
    socket.write('POST / HTTP/1.1\r\nHost: nobody.localhost\r\nContent-Length: 1\r\n\r\n')
    await until(() => text.split('HTTP/1.1 404').length === round + 1, `answer ${round}`)
    socket.write('x')
  }
  await until(() => edge.accessLog.length === 15, 'all are logged')
  await new Promise(setImmediate)
  t.same(warnings, [])
})
