/** Events of names that others had before: whoever takes such a name is told nothing of what it was. */

import t from 'tap'
import { putHostReport } from '../../../routing/vms/host-reports.ts'
import { eventsFor } from './event-reader.ts'
import { vmApiFor } from './vm-client.ts'

const GRANT = { to: { kind: 'email', value: 'secret.person@web.test' }, role: 'viewer' }
const UPSTREAM = { host: '10.1.2.3', port: 41_333 }

async function bedFor(test: Parameters<typeof vmApiFor>[0]) {
  const client = await vmApiFor(test)
  const { call, store, web, lab, revision } = client
  const report = (name: string) =>
    putHostReport(store, { name, host: 'host-1', state: 'running', ports: { '8000': UPSTREAM } })
  const done = async (method: string, path: string, token: string, body?: object) => {
    const { status, text } = await call(method, path, { token, ...(body && { body }) })
    if (status === undefined || status >= 300) throw new Error(`${method} ${path}: ${status} ${text}`)
  }
  /** A VM of the pool `web`, with secrets; returns the revision before each change of it. */
  const live = async () => {
    const places = [await revision()]
    const step = async (work: () => Promise<void>) => {
      await work()
      places.push(await revision())
    }
    await step(() => done('PUT', '/v1/vms/coveted', web, { pool: 'web' }))
    await step(() => done('PUT', '/v1/routes/shop.example.test', web, { vm: 'coveted' }))
    await step(() => done('POST', '/v1/vms/coveted/grants', web, GRANT))
    await step(() => done('PUT', '/v1/domains/secret.test', web, { vm: 'coveted' }))
    await step(() => report('coveted'))
    await step(() => done('DELETE', '/v1/domains/secret.test', web))
    return places
  }
  const resume = (after: number) => eventsFor(test, client, { token: lab, path: `/v1/events?after=${after}` })
  /** Told last. */
  const mark = (host: string) =>
    call('PUT', '/v1/pools/lab', { body: { cpuMillis: 100, memoryBytes: 1, diskBytes: 1, host } })
  return { ...client, done, report, live, resume, mark }
}

t.test('who makes a VM of a deleted name is told nothing of the one before', async (t) => {
  const { done, lab, web, live, resume, revision, mark } = await bedFor(t)
  const places = await live()
  const beforeEnd = await revision()
  await done('DELETE', '/v1/vms/coveted', web)
  const afterEnd = await revision()
  await done('PUT', '/v1/vms/coveted', lab, { pool: 'lab' })
  await done('PUT', '/v1/routes/shop.example.test', lab, { vm: 'coveted' })
  await done('PUT', '/v1/domains/secret.test', lab, { vm: 'coveted' })
  const readers = await Promise.all([...places, beforeEnd].map(resume))
  const late = await resume(afterEnd)
  for (const reader of readers) await reader.has(1)
  await mark('host-2')
  for (const reader of readers) {
    await reader.has(2)
    // Whose the deleted VM was cannot be known, so the reader lists again.
    t.strictSame(reader.told(), ['resync', 'pool put lab'])
    t.notMatch(reader.text, /secret|web|10\.1\.2\.3/)
  }
  await late.has(5)
  t.strictSame(late.told(), [
    'vm put coveted',
    'route put coveted.example.test',
    'route put shop.example.test',
    'domain put secret.test',
    'pool put lab',
  ])
})

t.test('events of routes and reports do not say where a VM is', async (t) => {
  const { done, store, report, web, call, ...client } = await bedFor(t)
  const reader = await eventsFor(t, client, { token: web })
  const operator = await eventsFor(t, client)
  await done('PUT', '/v1/vms/a', web, { pool: 'web', port: 8_000 })
  await report('a')
  await call('PUT', '/v1/routes/bare.example.test', {
    body: { upstream: '127.0.0.1:9000', pool: 'web' },
  })
  t.match((await store.get('route/a.example.test'))?.value, { upstream: UPSTREAM })
  for (const stream of [reader, operator]) {
    await stream.has(5)
    t.match(
      stream.events.map(({ data }) => data),
      [
        { kind: 'vm' },
        { kind: 'route', record: { state: 'stopped' } },
        { kind: 'report', record: { state: 'running', ports: [8_000] } },
        { kind: 'route', record: { state: 'running', port: 8_000, upstream: undefined } },
        {
          kind: 'route',
          record: { hostname: 'bare.example.test', upstream: { host: '127.0.0.1', port: 9_000 } },
        },
      ],
    )
    t.notMatch(stream.text, /10\.1\.2\.3|41333/)
  }
})
