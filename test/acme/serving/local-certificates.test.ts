/** Without a CA: which certificate of the local one is served, when it is made anew, and what a stranger can cost. */

import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { connect } from 'node:tls'
import t, { type Test } from 'tap'
import { CLIENT, checkCovers, DAY_MS, type SceneSettings, servingFor, tlsPortFor } from './scene.ts'

const KNOWN = ['a.localhost', 'b.localhost', 'admin.localhost', 'shop.test', 'c.localhost']

async function certificatesFor(t: Test, settings: SceneSettings = {}) {
  const scene = await servingFor(t, { isLocal: true, domain: 'localhost', served: KNOWN, ...settings })
  return { ...scene, authority: scene.localCa, ca: scene.issues, certificates: scene.serving }
}

t.test('a client that trusts the authority accepts each known name', async (t) => {
  const { authority, certificates } = await certificatesFor(t)
  const port = await tlsPortFor(t, certificates)
  for (const servername of ['a.localhost', 'admin.localhost', 'shop.test', 'localhost']) {
    const socket = connect({ host: '127.0.0.1', port, servername, ca: authority.certPem })
    await once(socket, 'secureConnect')
    t.equal(socket.authorized, true, servername)
    socket.destroy()
  }
})

t.test('a client refuses a name that is not known', async (t) => {
  const { authority, certificates } = await certificatesFor(t)
  const port = await tlsPortFor(t, certificates)
  const socket = connect({ host: '127.0.0.1', port, servername: 'stranger.test', ca: authority.certPem })
  const [error] = await once(socket, 'error')
  t.match(error, { code: 'ERR_TLS_CERT_ALTNAME_INVALID' })
})

t.test('a client that does not trust the authority refuses', async (t) => {
  const { certificates } = await certificatesFor(t)
  const port = await tlsPortFor(t, certificates)
  const socket = connect({ host: '127.0.0.1', port, servername: 'a.localhost' })
  const [error] = await once(socket, 'error')
  t.match(error, { code: /UNABLE_TO_VERIFY_LEAF_SIGNATURE|UNABLE_TO_GET_ISSUER_CERT_LOCALLY/ })
})

t.test('makes one certificate per known name, and one for everybody else', async (t) => {
  const { ca, certificates } = await certificatesFor(t)
  const strangers = ['x1.a.localhost', 'x2.a.localhost', 'deep.b.a.localhost', 'stranger.test', '', undefined]
  const contexts = await Promise.all(strangers.map(async (name) => certificates.contextFor(name, CLIENT)))
  t.equal(new Set(contexts).size, 1)
  t.equal(await certificates.contextFor('localhost', CLIENT), contexts[0])
  t.equal(
    await certificates.contextFor('a.localhost', CLIENT),
    await certificates.contextFor('A.LOCALHOST', CLIENT),
  )
  t.same(ca.names, ['localhost *.localhost', 'a.localhost'])
})

t.test('gives names that are no host names the default certificate', async (t) => {
  const { ca, certificates } = await certificatesFor(t)
  const hostile = [
    'a.localhost.',
    '.a.localhost',
    'a..localhost',
    '-a.localhost',
    'a_b.localhost',
    '*.localhost',
    'a.localhost\0',
    'a.localhost\n',
    'ä.localhost',
    '127.0.0.1',
    '::1',
    '__proto__',
    `${'a'.repeat(64)}.localhost`,
    `${'a.'.repeat(200)}localhost`,
    'a'.repeat(100_000),
  ]
  const authority = await certificates.contextFor(undefined, CLIENT)
  for (const name of hostile)
    t.equal(await certificates.contextFor(name, CLIENT), authority, JSON.stringify(name.slice(0, 40)))
  t.same(ca.names, ['localhost *.localhost'])
})

t.test('does not ask whether a thing that is no host name is known', async (t) => {
  const { certificates, asked } = await certificatesFor(t)
  await certificates.contextFor('10.0.0.1', CLIENT)
  await certificates.contextFor('A.localhost', CLIENT)
  t.same(asked, ['a.localhost'])
})

t.test('makes a certificate once for handshakes that come at once', async (t) => {
  const { ca, certificates } = await certificatesFor(t)
  const contexts = await Promise.all(
    Array.from({ length: 50 }, async () => certificates.contextFor('a.localhost', CLIENT)),
  )
  t.equal(new Set(contexts).size, 1)
  t.same(ca.names, ['a.localhost'])
})

t.test('holds no more certificates than its capacity and drops the one not used for longest', async (t) => {
  const { ca, certificates } = await certificatesFor(t, { maxContexts: 2 })
  for (const name of [
    'a.localhost',
    'b.localhost',
    'a.localhost',
    'c.localhost',
    'a.localhost',
    'b.localhost',
  ]) {
    await certificates.contextFor(name, CLIENT)
  }
  t.same(ca.names, ['a.localhost', 'b.localhost', 'c.localhost', 'b.localhost'])
})

t.test('renews a certificate that has less than a third of its life left', async (t) => {
  let nowMs = Date.now()
  const { ca, certificates } = await certificatesFor(t, { now: () => nowMs })
  const first = await certificates.contextFor('a.localhost', CLIENT)
  nowMs += 59.9 * DAY_MS
  t.equal(await certificates.contextFor('a.localhost', CLIENT), first)
  nowMs += 0.2 * DAY_MS
  const renewals = await Promise.all([
    Promise.resolve(certificates.contextFor('a.localhost', CLIENT)),
    Promise.resolve(certificates.contextFor('a.localhost', CLIENT)),
  ])
  t.not(renewals[0], first)
  t.equal(renewals[0], renewals[1], 'renewed once')
  t.same(ca.names, ['a.localhost', 'a.localhost'])
})

t.test('serves the old certificate while it is valid when renewal fails', async (t) => {
  let nowMs = Date.now()
  const { ca, certificates, said } = await certificatesFor(t, { now: () => nowMs })
  const first = await certificates.contextFor('a.localhost', CLIENT)
  ca.failing = true
  nowMs += 80 * DAY_MS
  t.equal(await certificates.contextFor('a.localhost', CLIENT), first)
  t.same(said(), ['no certificate could be made'])
  nowMs += 11 * DAY_MS
  await t.rejects(Promise.resolve(certificates.contextFor('a.localhost', CLIENT)), {
    code: 'certificate_failed',
    cause: { message: 'disk full' },
  })
  ca.failing = false
  t.ok(await certificates.contextFor('a.localhost', CLIENT), 'tries again')
})

t.test('knows which host names the served certificate covers', async (t) => {
  const { certificates } = await certificatesFor(t)
  const cases: [string | undefined, string, boolean][] = [
    ['a.localhost', 'a.localhost', true],
    ['a.localhost', 'A.Localhost', true],
    ['a.localhost', 'a.localhost.', true],
    ['A.localhost', 'a.localhost', true],
    ['a.localhost', 'b.localhost', false],
    ['a.localhost', 'localhost', false],
    ['a.localhost', 'x.a.localhost', false],
    ['shop.test', 'shop.test', true],
    ['shop.test', 'a.localhost', false],
    [undefined, 'localhost', true],
    [undefined, 'a.localhost', true],
    [undefined, 'x.a.localhost', false],
    [undefined, '.localhost', false],
    [undefined, 'alocalhost', false],
    [undefined, 'shop.test', false],
    [undefined, '127.0.0.1', false],
    [undefined, '', false],
    ['127.0.0.1', 'a.localhost', true],
    ['stranger.test', 'stranger.test', false],
    ['stranger.localhost', 'stranger.localhost', true],
    ['stranger.localhost', 'other.localhost', false],
    ['localhost', 'x.localhost', true],
    ['localhost', '*.localhost', false],
  ]
  checkCovers(t, certificates, cases)
})

t.test('agrees with OpenSSL about what a certificate of its own covers', async (t) => {
  const { authority, certificates } = await certificatesFor(t)
  const { certPem } = await authority.issue(['a.localhost'])
  for (const hostname of ['a.localhost', 'b.localhost', 'localhost', 'x.a.localhost']) {
    const checked = new X509Certificate(certPem).checkHost(hostname) !== undefined
    t.equal(certificates.covers('a.localhost', hostname), checked, hostname)
  }
})
