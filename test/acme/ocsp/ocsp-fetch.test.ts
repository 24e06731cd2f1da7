/** How an OCSP responder is found and asked: by an address that was looked at, within its time. */

import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import { fetchOcsp } from '../../../acme/ocsp/ocsp-fetch.ts'

t.test('connects to the address that was allowed, without another look-up', async (t) => {
  const hosts: (string | undefined)[] = []
  const server = createServer(({ headers }, answer) => {
    hosts.push(headers.host)
    answer.end('said')
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const { port } = server.address() as AddressInfo
  const url = `http://responder.test:${port}/`
  const demand = { url, body: Buffer.alloc(1), signal: new AbortController().signal }
  const names: string[] = []
  const both = {
    resolve4: async (name: string) => (names.push(name) > 0 ? ['10.0.0.1', '127.0.0.1'] : []),
    resolve6: () => Promise.reject(new Error('ESERVFAIL')),
  }
  const isAllowed = (address: string) => address === '127.0.0.1'
  const answer = await fetchOcsp(demand, { timeoutMs: 2_000, resolver: both, isAllowed })
  t.same([answer.toString(), hosts, names], ['said', [`responder.test:${port}`], ['responder.test']])
  const silent = { resolve4: () => new Promise<never>(() => {}), resolve6: both.resolve6 }
  const startedAt = performance.now()
  await t.rejects(fetchOcsp(demand, { timeoutMs: 100, resolver: silent, isAllowed }), { name: 'OcspError' })
  t.ok(performance.now() - startedAt < 10_000)
  const none = { resolve4: both.resolve6, resolve6: both.resolve6 }
  await t.rejects(fetchOcsp(demand, { timeoutMs: 2_000, resolver: none }), { name: 'OcspError' })
})

t.test('asks at port 80 alone, and gives no password', async (t) => {
  // Nothing is connected to, whatever is allowed.
  const signal = AbortSignal.abort()
  const never = () => Promise.reject(new Error('ENOTFOUND'))
  const resolver = { resolve4: never, resolve6: never }
  for (const [url, message] of [
    ['http://8.8.8.8:8081/', 'the responder is not at port 80 of a public address'],
    ['http://[2606:4700::1]:22/', 'the responder is not at port 80 of a public address'],
    ['http://user@8.8.8.8/', 'the responder wants a password'],
    ['http://:secret@8.8.8.8/', 'the responder wants a password'],
    ['http://8.8.8.8:80/', 'the responder cannot be asked'],
  ] as const)
    await t.rejects(fetchOcsp({ url, body: Buffer.alloc(1), signal }, { timeoutMs: 2_000, resolver }), {
      message,
    })
  const found = { resolve4: async () => ['8.8.8.8'], resolve6: never }
  const url = 'http://responder.test:8081/'
  const open = new AbortController().signal
  await t.rejects(
    fetchOcsp({ url, body: Buffer.alloc(1), signal: open }, { timeoutMs: 2_000, resolver: found }),
    {
      message: 'the responder is not at port 80 of a public address',
    },
  )
})
