/** The operations port: what it answers, and that readiness tells of the table behind it. */

import { Registry } from 'prom-client'
import t, { type Test } from 'tap'
import { type OpsDeps, startOpsListener, type TableState } from '../../proxy/ops-listener.ts'

const TABLE: TableState = {
  source: 'snapshot',
  revision: 17,
  rows: 3,
  ageSeconds: 61.5,
  refused: 2,
  held: true,
}

t.test('is ready, and tells where its routes come from and how old they are', async (t) => {
  const answer = await fetch(`${await urlFor(t)}/readyz`)
  t.equal(answer.status, 200)
  t.equal(answer.headers.get('content-type'), 'application/json')
  t.same(await answer.json(), { ready: true, reasons: [], table: TABLE })
})

t.test('says why it should get no traffic', async (t) => {
  const table = { ...TABLE, ageSeconds: Number.POSITIVE_INFINITY }
  const url = await urlFor(t, { findUnready: () => ['draining'], readTable: () => table })
  const answer = await fetch(`${url}/readyz?verbose`)
  t.equal(answer.status, 503)
  t.same(await answer.json(), { ready: false, reasons: ['draining'], table: { ...TABLE, ageSeconds: null } })
})

t.test('is alive, shows its metrics and knows nothing else', async (t) => {
  const url = await urlFor(t)
  t.equal(await (await fetch(`${url}/livez`)).text(), 'ok\n')
  t.equal((await fetch(`${url}/metrics`)).headers.get('content-type'), new Registry().contentType)
  t.equal((await fetch(`${url}/other`)).status, 404)
})

async function urlFor(t: Test, deps: Partial<OpsDeps> = {}): Promise<string> {
  const whole = { registry: new Registry(), findUnready: () => [], readTable: () => TABLE, ...deps }
  const listener = await startOpsListener(whole, { port: 0 })
  t.teardown(() => listener[Symbol.asyncDispose]())
  return `http://127.0.0.1:${listener.port}`
}
