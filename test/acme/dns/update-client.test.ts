/** Values go into a real BIND by signed updates and out again; a wrong key, clock, zone or server is said in words. */

import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { TSIG_ALGORITHMS, type TsigAlgorithm } from '../../../acme/dns/tsig.ts'
import { loadTsigKey } from '../../../acme/dns/tsig-key.ts'
import { createDnsUpdater } from '../../../acme/dns/update-client.ts'
import { bindFor } from '../../helpers/bind.ts'
import { folderFor } from '../../helpers/folder.ts'

const ZONE = 'example.test'
const NAME = `_acme-challenge.app.${ZONE}`
const { signal } = new AbortController()

for (const algorithm of Object.keys(TSIG_ALGORITHMS) as TsigAlgorithm[]) {
  t.test(`adds and removes single values, signed by ${algorithm}`, async (t) => {
    const bind = await bindFor(t, { zones: { [ZONE]: '' }, algorithm })
    const key = await loadTsigKey(bind.keyFile)
    const updater = createDnsUpdater({}, { server: bind.server, zone: ZONE, key })
    const values = async () =>
      (await bind.resolver.resolveTxt(NAME).catch(() => [])).map((parts) => parts.join('')).sort()

    t.equal(await updater.isVisible(NAME, 'one', signal), false, 'nothing is there at first')
    await updater.add(NAME, 'one', signal)
    await updater.add(NAME, 'two', signal)
    await updater.add(NAME, 'two', signal)
    t.strictSame(await values(), ['one', 'two'])
    t.equal(await updater.isVisible(NAME, 'two', signal), true)
    t.equal(await updater.isVisible(NAME, 'three', signal), false)
    await updater.remove(NAME, 'one', signal)
    await updater.remove(NAME, 'one', signal)
    t.strictSame(await values(), ['two'], 'the other value stays')
  })
}

t.test('covers the names of its zone and no others', async (t) => {
  const updater = createDnsUpdater({}, { server: { host: '127.0.0.1', port: 1 }, zone: ZONE, key: KEY })
  t.equal(updater.covers(NAME), true)
  t.equal(updater.covers(NAME.toUpperCase()), true)
  t.equal(updater.covers(ZONE), true)
  t.equal(updater.covers('_acme-challenge.notexample.test'), false)
  t.equal(updater.covers('test'), false)
})

const KEY = { name: 'update', algorithm: 'hmac-sha256', secret: Buffer.alloc(32, 7) } as const

t.test('says what a real server has against an update', async (t) => {
  const bind = await bindFor(t, { zones: { [ZONE]: '' } })
  const key = await loadTsigKey(bind.keyFile)
  const good = { server: bind.server, zone: ZONE, key }
  const cases = [
    { what: 'another secret', settings: { ...good, key: { ...key, secret: KEY.secret } }, detail: /BADSIG/ },
    {
      what: 'a key it does not know',
      settings: { ...good, key: { ...key, name: 'nobody' } },
      detail: /BADKEY/,
    },
    {
      what: 'another clock',
      settings: { ...good, now: () => Date.now() - 3_600_000 },
      detail: /clocks differ/,
    },
    { what: 'a zone it has not', settings: { ...good, zone: 'other.test' }, detail: /NOTAUTH$/ },
    { what: 'a name outside', settings: good, name: 'a.other.test', detail: /NOTZONE$/ },
    {
      what: 'a name that is none',
      settings: good,
      name: `${'a'.repeat(64)}.example.test`,
      detail: /cannot be a name/,
    },
  ]
  for (const { what, settings, name = NAME, detail } of cases) {
    await t.rejects(
      createDnsUpdater({}, settings).add(name, 'value', signal),
      {
        code: 'certificate_dns_update',
        detail,
      },
      what,
    )
  }
  t.notMatch(bind.log(), /updating zone .* adding/, 'nothing was changed')
})

t.test('fails in time when nobody answers, and at once when it is aborted', async (t) => {
  const silent = await serverFor(t, () => undefined)
  const settings = { server: silent, zone: ZONE, key: KEY }
  await t.rejects(createDnsUpdater({}, { ...settings, timeoutMs: 50 }).add(NAME, 'value', signal), {
    code: 'certificate_dns_update',
    detail: /no answer within 50 ms/,
  })
  const isVisible = await createDnsUpdater({}, { ...settings, timeoutMs: 50 }).isVisible(
    NAME,
    'value',
    signal,
  )
  t.equal(isVisible, false, 'an answer that was lost is asked for again')
  const reason = new Error('lost the hold')
  const abort = new AbortController()
  const updater = createDnsUpdater({}, { ...settings, timeoutMs: 60_000 })
  const both = [updater.remove(NAME, 'value', abort.signal), updater.isVisible(NAME, 'value', abort.signal)]
  setImmediate(() => abort.abort(reason))
  for (const one of both) await t.rejects(Promise.resolve<unknown>(one), reason)
  await t.rejects(updater.add(NAME, 'value', abort.signal), reason)
})

t.test('believes no answer that is not signed', async (t) => {
  const cases = [
    { what: 'unsigned', answer: (query: Buffer) => toUnsigned(query), detail: /not signed/ },
    { what: 'the request itself', answer: (query: Buffer) => query, detail: /something else/ },
    {
      what: 'the request as an answer',
      answer: (query: Buffer) => flag(query),
      detail: /signature of the answer is wrong/,
    },
    { what: 'garbage', answer: () => Buffer.alloc(40, 0xff), detail: /something else/ },
    { what: 'an empty message', answer: () => Buffer.alloc(0), detail: /something else/ },
  ]
  for (const { what, answer, detail } of cases) {
    const server = await serverFor(t, answer)
    const updater = createDnsUpdater({}, { server, zone: ZONE, key: KEY })
    await t.rejects(updater.add(NAME, 'value', signal), { code: 'certificate_dns_update', detail }, what)
  }
  const gone = createDnsUpdater({}, { server: { host: '127.0.0.1', port: 1 }, zone: ZONE, key: KEY })
  await t.rejects(gone.add(NAME, 'value', signal), { code: 'certificate_dns_update', detail: /ECONNREFUSED/ })
})

t.test('asks every server of the zone that answers, beside the one that takes updates', async (t) => {
  const primary = await bindFor(t, { zones: { [ZONE]: '' } })
  const second = await bindFor(t, { zones: { [ZONE]: '' } })
  const key = await loadTsigKey(primary.keyFile)
  const known = new Map([
    ['ns.example.test', ['127.0.0.1']],
    ['gone.example.test', ['127.0.0.2']],
  ])
  const resolver = {
    resolveNs: async () => [...known.keys()],
    resolve4: async (name: string) => known.get(name) ?? [],
    resolve6: async () => Promise.reject(new Error('none')),
  }
  const settings = {
    server: primary.server,
    zone: ZONE,
    key,
    timeoutMs: 2_000,
    nameserverPort: second.server.port,
  }
  const updater = createDnsUpdater({ resolver }, settings)
  await updater.add(NAME, 'value', signal)
  t.equal(await updater.isVisible(NAME, 'value', signal), false, 'the second server has it not yet')
  await createDnsUpdater(
    {},
    { server: second.server, zone: ZONE, key: await loadTsigKey(second.keyFile) },
  ).add(NAME, 'value', signal)
  t.equal(await updater.isVisible(NAME, 'value', signal), true, 'one that is gone is not waited for')
})

t.test('a key file has one key of a strong kind', async (t) => {
  const secret = Buffer.alloc(32, 0xff).toString('base64')
  const good = `// made by tsig-keygen\nkey "Landfall.Key" {\n\talgorithm hmac-sha512; # strong\n\tsecret "${secret}";\n};\n`
  const write = (text: string) => {
    const path = join(folderFor(t), 'key')
    writeFileSync(path, text)
    return path
  }
  t.strictSame(await loadTsigKey(write(good)), {
    name: 'landfall.key',
    algorithm: 'hmac-sha512',
    secret: Buffer.alloc(32, 0xff),
  })
  const cases = [
    { text: '', detail: /has 0 keys/ },
    { text: `/* ${good} */`, detail: /has 0 keys/ },
    { text: good + good, detail: /has 2 keys/ },
    { text: good.replace('sha512', 'md5'), detail: /algorithm must be/ },
    { text: good.replace(secret, 'AAAA'), detail: /16 bytes or more/ },
    { text: good.replace(secret, 'not base64!'), detail: /16 bytes or more/ },
    { text: good.replace('Landfall.Key', `${'k'.repeat(64)}`), detail: /cannot be one in DNS/ },
  ]
  for (const { text, detail } of cases) {
    const path = write(text)
    const error: unknown = await loadTsigKey(path).catch((error: unknown) => error)
    t.match(error, { code: 'certificate_setting', detail })
    t.notMatch(JSON.stringify(error), secret, 'the secret is not told')
  }
  await t.rejects(loadTsigKey('/nowhere/key'), { code: 'certificate_setting', detail: /ENOENT/ })
  const made = await bindFor(t)
  t.match(readFileSync(made.keyFile, 'utf8'), /^key "update"/)
})

/** One TCP server that gives this answer to the first query; nothing when there is none. */
async function serverFor(t: Test, answer: (query: Buffer) => Buffer | undefined) {
  const server = createServer((socket) => {
    socket.on('error', () => {})
    socket.once('data', (query: Buffer) => {
      const bytes = answer(query.subarray(2))
      if (bytes) socket.end(Buffer.concat([Buffer.from([bytes.length >> 8, bytes.length & 255]), bytes]))
    })
    t.teardown(() => socket.destroy())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const address = server.address()
  return { host: '127.0.0.1', port: typeof address === 'object' && address ? address.port : 0 }
}

function flag(query: Buffer): Buffer {
  const answer = Buffer.from(query)
  answer[2] = (answer[2] ?? 0) | 0x80
  return answer
}

function toUnsigned(query: Buffer): Buffer {
  const head = Buffer.alloc(12)
  query.copy(head, 0, 0, 2)
  head[2] = 0xa8
  return head
}
