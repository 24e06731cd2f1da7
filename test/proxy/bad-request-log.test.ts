/** Bytes that never became a request are reported by their code, but not repeated in the log: they hold secrets. */

import t from 'tap'
import { edgeFor } from '../helpers/edge.ts'
import { exchange } from '../helpers/raw-client.ts'
import { until } from '../helpers/until.ts'

const SECRET = 'c2VjcmV0'
const MALFORMED = `GET / HTTP/1.1\r\nHost: a\r\nCookie: session=${SECRET}\r\nAuthorization: Bearer ${SECRET}\r\nX : y\r\n\r\n`

t.test('reports a malformed request without its bytes', async (t) => {
  const edge = await edgeFor(t)
  t.match(await exchange(await edge.dialPlain(), MALFORMED), { status: 400 })
  const reports = () => edge.logged.filter(({ error_code }) => error_code === 'request_syntax')
  await until(() => reports().length === 1, 'a report')
  t.match(reports()[0], { remote_ip: '127.0.0.1' })
  const seen: unknown[] = []
  const collect = (value: unknown): void => {
    if (typeof value === 'object' && value !== null && !seen.includes(value)) {
      seen.push(value)
      for (const name of Object.getOwnPropertyNames(value)) collect(Reflect.get(value, name))
    } else if (typeof value === 'string') seen.push(value)
  }
  collect(edge.logged)
  collect(edge.accessLog)
  const bytes = seen.filter((value) => Buffer.isBuffer(value) || value instanceof Uint8Array)
  t.same(bytes, [], 'no raw bytes')
  t.notOk(
    seen.some((value) => typeof value === 'string' && value.includes(SECRET)),
    'no secret',
  )
})
