/** Renewal information: the CertID of RFC 9773, and windows that are believed or not. */

import { X509Certificate } from 'node:crypto'
import fc from 'fast-check'
import t from 'tap'
import { parseRenewalInfo, toCertId } from '../../../acme/ca/ari.ts'
import { CaProblem } from '../../../acme/ca/ca-problem.ts'
import { generateKey } from '../../../acme/keys.ts'
import { createAuthorityCertificate } from '../../../acme/x509.ts'
import { createRequest } from '../../helpers/ca-scene.ts'
import { createIssuer } from '../../helpers/small-ca-issuer.ts'

const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS
const DAY_MS = 24 * HOUR_MS
const NOW = Date.parse('2026-08-01T00:00:00Z')

/** RFC 9773 appendix A. */
const PUBLISHED = `-----BEGIN CERTIFICATE-----
MIIBQzCB66ADAgECAgUAh2VDITAKBggqhkjOPQQDAjAVMRMwEQYDVQQDEwpFeGFt
cGxlIENBMCIYDzAwMDEwMTAxMDAwMDAwWhgPMDAwMTAxMDEwMDAwMDBaMBYxFDAS
BgNVBAMTC2V4YW1wbGUuY29tMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEeBZu
7cbpAYNXZLbbh8rNIzuOoqOOtmxA1v7cRm//AwyMwWxyHz4zfwmBhcSrf47NUAFf
qzLQ2PPQxdTXREYEnKMjMCEwHwYDVR0jBBgwFoAUaYhba4dGQEHhs3uEe6CuLN4B
yNQwCgYIKoZIzj0EAwIDRwAwRAIge09+S5TZAlw5tgtiVvuERV6cT4mfutXIlwTb
+FYN/8oCIClDsqBklhB9KAelFiYt9+6FDj3z4KGVelYM5MdsO3pK
-----END CERTIFICATE-----
`

const derOf = (pem: string) => new X509Certificate(pem).raw

async function leafWith(serial: string): Promise<Buffer> {
  const { issue } = await createIssuer()
  const [notBefore, notAfter] = [new Date(NOW), new Date(NOW + DAY_MS)]
  return derOf(await issue({ csr: await createRequest(['a.example']), notBefore, notAfter, serial }))
}

function windowOf(start: unknown, end: unknown): object {
  return { suggestedWindow: { start, end } }
}

t.test('names the published certificate as published', async (t) => {
  t.equal(toCertId(derOf(PUBLISHED)), 'aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE')
})

t.test('gives the leading zero of a serial number exactly where DER has one', async (t) => {
  const serialOf = (id: string) => Buffer.from(id.split('.')[1] ?? '', 'base64url').toString('hex')
  t.equal(serialOf(toCertId(await leafWith('87654321'))), '0087654321')
  t.equal(serialOf(toCertId(await leafWith('17654321'))), '17654321')
})

t.test('refuses a certificate that names no authority, and what is none', async (t) => {
  const validity = { notBefore: new Date(NOW), notAfter: new Date(NOW + DAY_MS) }
  const root = await createAuthorityCertificate(
    { key: await generateKey('ec'), subject: 'CN=Root' },
    validity,
  )
  t.throws(() => toCertId(derOf(root)), CaProblem)
  t.throws(() => toCertId(Buffer.from('nonsense')), CaProblem)
  t.throws(() => toCertId(Buffer.alloc(0)), CaProblem)
})

t.test('refuses a certificate whose key is costly to read', async (t) => {
  const [p256, p239] = ['06082a8648ce3d030107', '06082a8648ce3d030106']
  const other = Buffer.from(derOf(PUBLISHED).toString('hex').replace(p256, p239), 'hex')
  t.throws(() => toCertId(other), { code: 'ca_nonsense', cause: { name: 'UnusualKeyError' } })
})

t.test('answers the window, why, and when to ask again', async (t) => {
  const body = {
    ...windowOf('2026-09-01T00:00:00Z', '2026-09-03T12:00:00.5+01:00'),
    explanationURL: 'https://example.com/why',
  }
  t.same(parseRenewalInfo(body, { retryAfterMs: 2 * HOUR_MS, now: NOW }), {
    startMs: Date.parse('2026-09-01T00:00:00Z'),
    endMs: Date.parse('2026-09-03T11:00:00.500Z'),
    explanationUrl: 'https://example.com/why',
    retryAfterMs: 2 * HOUR_MS,
  })
})

t.test('believes a window in the past: that is how a CA asks for haste', async (t) => {
  const body = windowOf('2026-07-01T00:00:00Z', '2026-07-02T00:00:00Z')
  t.equal(parseRenewalInfo(body, { retryAfterMs: undefined, now: NOW }).startMs, NOW - 31 * DAY_MS)
})

t.test('asks again between a minute and a day, and in six hours where the CA does not say', async (t) => {
  const body = windowOf('2026-09-01T00:00:00Z', '2026-09-02T00:00:00Z')
  const retryOf = (retryAfterMs?: number) => parseRenewalInfo(body, { retryAfterMs, now: NOW }).retryAfterMs
  t.equal(retryOf(0), MINUTE_MS)
  t.equal(retryOf(1_000), MINUTE_MS)
  t.equal(retryOf(40 * DAY_MS), DAY_MS)
  t.equal(retryOf(undefined), 6 * HOUR_MS)
})

t.test('refuses windows that cannot be', async (t) => {
  const fine = '2026-09-01T00:00:00Z'
  const bodies = [
    undefined,
    'text',
    {},
    windowOf(fine, undefined),
    windowOf(fine, fine),
    windowOf('2026-09-02T00:00:00Z', fine),
    windowOf('2026', '2027'),
    windowOf(1, 2),
    windowOf(fine, '9999-01-01T00:00:00Z'),
    windowOf('0001-01-01T00:00:00Z', fine),
    windowOf('2026-13-01T00:00:00Z', '2026-14-01T00:00:00Z'),
  ]
  for (const body of bodies) {
    t.throws(() => parseRenewalInfo(body, { retryAfterMs: 0, now: NOW }), { code: 'ca_nonsense' })
  }
})

t.test('drops an explanation that is not a page', async (t) => {
  for (const explanationURL of [
    'javascript:alert(1)',
    5,
    'x',
    'https://a/b c',
    'https://a/\u00e9',
    `https://a/${'x'.repeat(3_000)}`,
  ]) {
    const body = { ...windowOf('2026-09-01T00:00:00Z', '2026-09-02T00:00:00Z'), explanationURL }
    t.notOk('explanationUrl' in parseRenewalInfo(body, { retryAfterMs: 0, now: NOW }))
  }
})

t.test('fails in one way alone, whatever it is given', async (t) => {
  const isFine = (work: () => unknown) => {
    try {
      work()
      return true
    } catch (error) {
      return error instanceof CaProblem
    }
  }
  fc.assert(
    fc.property(fc.json(), (text) =>
      isFine(() => parseRenewalInfo(JSON.parse(text), { retryAfterMs: 0, now: NOW })),
    ),
  )
  const der = derOf(PUBLISHED)
  const anywhere = fc.tuple(fc.nat(der.length - 1), fc.nat(255))
  fc.assert(
    fc.property(anywhere, ([at, value]) => {
      const broken = Buffer.from(der)
      broken[at] = value
      return isFine(() => toCertId(broken))
    }),
    { numRuns: 500 },
  )
  t.pass('nothing else was thrown')
})
