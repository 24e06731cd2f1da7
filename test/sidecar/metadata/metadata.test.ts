/** What the metadata service answers, and to which requests. */

import t from 'tap'
import { createMetadata, type GuestFacts } from '../../../sidecar/metadata/metadata.ts'

const CREATED_AT = '2026-01-31T12:00:00.123Z'
const KEY = 'one-20260131T120000123Z'
const FACTS: GuestFacts = {
  name: 'one',
  createdAt: CREATED_AT,
  pool: 'pool1',
  image: 'hello',
  hostname: 'one.example',
  authorizedKeys: ['ssh-ed25519 AAAA a', 'ssh-ed25519 BBBB b'],
  identity: { publicKey: 'ssh-ed25519 CCCC', openssh: 'PRIVATE\n', dropbear: new Uint8Array([0, 255, 10]) },
}
const ASKER = { key: KEY, address: '10.97.0.1' }
const HEADERS = new Map([['landfall-metadata', '1']])

function ask(target: string, { method = 'GET', headers = HEADERS, facts = FACTS } = {}) {
  const metadata = createMetadata({ find: async (key) => (key === KEY ? facts : undefined) })
  return metadata.answer({ method, target, headers }, ASKER)
}

t.test('tells a VM its facts, one a page or all as JSON', async (t) => {
  const pages = {
    name: 'one\n',
    hostname: 'one.example\n',
    address: '10.97.0.1\n',
    pool: 'pool1\n',
    image: 'hello\n',
    'authorized-keys': 'ssh-ed25519 AAAA a\nssh-ed25519 BBBB b\n',
  }
  for (const [page, body] of Object.entries(pages)) {
    t.same(await ask(`/v1/${page}`), { status: 200, type: 'text/plain', body })
  }
  const { type, body } = await ask('/v1/vm.json')
  t.equal(type, 'application/json')
  t.same(JSON.parse(body), {
    name: 'one',
    hostname: 'one.example',
    address: '10.97.0.1',
    pool: 'pool1',
    image: 'hello',
    createdAt: CREATED_AT,
    authorizedKeys: FACTS.authorizedKeys,
  })
  const listed = (await ask('/v1/')).body.trim().split('\n')
  t.same(listed.toSorted(), [...Object.keys(pages), 'boot', 'vm.json'].toSorted())
})

t.test('tells the init all it needs in one page of lines', async (t) => {
  const { body } = await ask('/v1/boot')
  const lines = body.trimEnd().split('\n')
  const values = lines
    .map((line) => line.split(' '))
    .map(([name, value = '']) => [name, Buffer.from(value, 'base64')])
  t.same(values, [
    ['hostname', Buffer.from('one.example')],
    ['authorized_keys', Buffer.from('ssh-ed25519 AAAA a\nssh-ed25519 BBBB b\n')],
    ['ssh_host_ed25519_key', Buffer.from('PRIVATE\n')],
    ['ssh_host_dropbear_key', Buffer.from([0, 255, 10])],
  ])
})

t.test('takes the name for the host name, and no keys for none', async (t) => {
  const { hostname: _, authorizedKeys: __, ...facts } = FACTS
  t.match(await ask('/v1/hostname', { facts }), { body: 'one\n' })
  t.match(await ask('/v1/boot', { facts }), { body: /^hostname b25l\nauthorized_keys \n/ })
})

t.test('refuses what a guest need not ask', async (t) => {
  const forged = new Map([...HEADERS, ['x-forwarded-for', '203.0.113.9']])
  t.match(await ask('/v1/name', { method: 'POST' }), { status: 405 })
  t.match(
    await ask('/v1/name', { headers: new Map() }),
    { status: 403 },
    'a request that some program was made to send',
  )
  t.match(await ask('/v1/name', { headers: new Map([['landfall-metadata', 'true']]) }), { status: 403 })
  t.match(await ask('/v1/name', { headers: forged }), { status: 403 })
  for (const target of [
    '/',
    '/v1',
    '/v1/constructor',
    '/v1/__proto__',
    '/v1/toString',
    '/v1/name/',
    '/v2/name',
    '/v1/list',
  ])
    t.match(await ask(target), { status: 404 }, target)
})

t.test('says nothing where it does not know the VM, or was given the facts of another', async (t) => {
  const strange = createMetadata({ find: async () => ({ ...FACTS, name: 'two' }) })
  const gone = createMetadata({ find: async () => undefined })
  const broken = createMetadata({ find: () => Promise.reject(new Error('secret')) })
  for (const metadata of [strange, gone, broken]) {
    const answer = await metadata.answer({ method: 'GET', target: '/v1/boot', headers: HEADERS }, ASKER)
    t.match(answer, { status: 503, body: 'Nothing is known of this VM yet.\n' })
  }
})
