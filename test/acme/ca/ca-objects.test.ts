/** Answers of a hostile certificate authority: what is believed, and what is refused. */

import { X509Certificate } from 'node:crypto'
import fc from 'fast-check'
import t from 'tap'
import { parseAuthorization, parseChain, parseDirectory, parseOrder } from '../../../acme/ca/ca-objects.ts'
import { CaProblem } from '../../../acme/ca/ca-problem.ts'
import { checkUrl } from '../../../acme/ca/ca-url.ts'
import { createRequest } from '../../helpers/ca-scene.ts'
import { createIssuer } from '../../helpers/small-ca-issuer.ts'

const DIRECTORY = 'https://ca.example/directory'
const FROM = { directory: DIRECTORY, url: 'https://ca.example/order/1', retryAfterMs: undefined }
const TOKEN = 'x'.repeat(43)

const ORDER = {
  status: 'pending',
  identifiers: [{ type: 'dns', value: 'A.example' }],
  authorizations: ['https://ca.example/authorization/1'],
  finalize: 'https://ca.example/finalize/1',
}
const CHALLENGE = { type: 'http-01', url: 'https://ca.example/challenge/1', token: TOKEN, status: 'pending' }
const AUTHORIZATION = {
  status: 'pending',
  identifier: { type: 'dns', value: 'a.example' },
  challenges: [CHALLENGE],
}
const RESOURCES = {
  newNonce: 'https://ca.example/nonce',
  newAccount: 'https://ca.example/account',
  newOrder: 'https://ca.example/order',
}

t.test('reads an order with all that it can have', async (t) => {
  const body = {
    ...ORDER,
    status: 'valid',
    certificate: 'https://ca.example/certificate/1',
    error: { type: 'urn:ietf:params:acme:error:caa', detail: 'no', status: 403 },
    profile: 'short',
  }
  t.same(parseOrder(body, { ...FROM, retryAfterMs: 3_000, names: ['a.example'] }), {
    url: FROM.url,
    status: 'valid',
    authorizations: ORDER.authorizations,
    finalize: ORDER.finalize,
    certificate: 'https://ca.example/certificate/1',
    problem: { type: 'caa', status: 403, detail: 'no', subproblems: [] },
    retryAfterMs: 3_000,
  })
})

t.test('refuses orders that cannot be', async (t) => {
  const bodies = [
    undefined,
    null,
    '<html>',
    [],
    {},
    { ...ORDER, status: 'done' },
    { ...ORDER, identifiers: undefined },
    { ...ORDER, identifiers: [{ type: 'ip', value: '192.0.2.1' }] },
    { ...ORDER, authorizations: 'https://ca.example/authorization/1' },
    { ...ORDER, authorizations: Array.from({ length: 101 }, () => 'https://ca.example/') },
    { ...ORDER, authorizations: ['http://ca.example/authorization/1'] },
    { ...ORDER, authorizations: ['file:///etc/passwd'] },
    { ...ORDER, finalize: `https://ca.example/${'x'.repeat(3_000)}` },
    { ...ORDER, finalize: 'https://user:password@ca.example/' },
    { ...ORDER, certificate: 5 },
  ]
  for (const body of bodies) t.throws(() => parseOrder(body, FROM), { code: 'ca_nonsense' })
  t.throws(() => parseOrder(ORDER, { ...FROM, url: 'ftp://ca.example/' }), { code: 'ca_nonsense' })
})

t.test('refuses an order for other names than were asked for', async (t) => {
  t.ok(parseOrder(ORDER, { ...FROM, names: ['a.example'] }))
  for (const names of [['b.example'], ['a.example', 'b.example'], []]) {
    t.throws(() => parseOrder(ORDER, { ...FROM, names }), /other names/)
  }
})

t.test('reads an authorization, of a wildcard too', async (t) => {
  const failed = { ...CHALLENGE, status: 'invalid', error: { type: 'x', detail: 'no answer', status: 400 } }
  const body = { ...AUTHORIZATION, wildcard: true, challenges: [CHALLENGE, failed] }
  const read = parseAuthorization(body, FROM)
  t.match(read, { status: 'pending', name: 'a.example', isWildcard: true, url: FROM.url })
  t.same(read.challenges[0], CHALLENGE)
  t.equal(read.challenges[1]?.problem?.detail, 'no answer')
})

t.test('leaves challenges of kinds that it does not know aside', async (t) => {
  const others = [
    { type: 'dns-persist-01', url: 'https://ca.example/challenge/2', status: 'pending' },
    { ...CHALLENGE, token: 'too short' },
    { ...CHALLENGE, token: `../${TOKEN}` },
    { ...CHALLENGE, type: 5 },
    null,
  ]
  const body = { ...AUTHORIZATION, challenges: [...others, CHALLENGE] }
  t.same(parseAuthorization(body, FROM).challenges, [CHALLENGE])
})

t.test('refuses authorizations that cannot be', async (t) => {
  const bodies = [
    undefined,
    'text',
    { ...AUTHORIZATION, status: 'perhaps' },
    { ...AUTHORIZATION, identifier: 'a.example' },
    { ...AUTHORIZATION, challenges: {} },
    { ...AUTHORIZATION, challenges: [{ ...CHALLENGE, url: 'http://169.254.169.254/' }] },
  ]
  for (const body of bodies) t.throws(() => parseAuthorization(body, FROM), { code: 'ca_nonsense' })
})

t.test('reads what a directory offers', async (t) => {
  const meta = {
    profiles: { classic: 'x', shortlived: 'y' },
    caaIdentities: ['ca.example', 5],
    termsOfService: 'https://ca.example/terms',
    externalAccountRequired: true,
  }
  const body = { ...RESOURCES, renewalInfo: 'https://ca.example/renewal-info', meta, keyChange: 5 }
  const { document, facts } = parseDirectory(body, { directory: DIRECTORY })
  t.same(document, { ...RESOURCES, renewalInfo: 'https://ca.example/renewal-info' })
  t.same(facts, {
    profiles: ['classic', 'shortlived'],
    hasRenewalInfo: true,
    caaIdentities: ['ca.example'],
    termsOfService: 'https://ca.example/terms',
    needsExternalAccount: true,
  })
  t.same(parseDirectory(RESOURCES, { directory: DIRECTORY }).facts, {
    profiles: [],
    hasRenewalInfo: false,
    caaIdentities: [],
    needsExternalAccount: false,
  })
  for (const odd of [
    undefined,
    [],
    {},
    { ...RESOURCES, newNonce: 'nonce' },
    { ...RESOURCES, renewalInfo: 5 },
  ]) {
    t.throws(() => parseDirectory(odd, { directory: DIRECTORY }), { code: 'ca_nonsense' })
  }
})

t.test('follows plain HTTP on this machine alone, and only from a directory that is there', async (t) => {
  const here = 'http://127.0.0.1:5/directory'
  t.equal(checkUrl('http://[::1]:4/x', here), 'http://[::1]:4/x')
  t.throws(() => checkUrl('http://ca.example/x', here), CaProblem)
  t.throws(() => checkUrl('http://127.0.0.1/x', DIRECTORY), CaProblem)
})

t.test('follows an authority to hosts of its own registered domain alone', async (t) => {
  const directory = 'https://acme.ca.example.co.uk:14000/directory'
  for (const url of ['https://acme.ca.example.co.uk/x', 'https://ari.example.co.uk/x']) {
    t.equal(checkUrl(url, directory), url)
  }
  const foreign = [
    'https://vault.corp.internal/x',
    'https://10.0.0.5/x',
    'https://other.co.uk/x',
    'https://acme.ca.example.co.uk.other.example/x',
  ]
  for (const url of foreign) t.throws(() => checkUrl(url, directory), CaProblem, url)
  t.equal(checkUrl('https://10.0.0.5:9/x', 'https://10.0.0.5/directory'), 'https://10.0.0.5:9/x')
  t.throws(() => checkUrl('https://10.0.0.6/x', 'https://10.0.0.5/directory'), CaProblem)
  t.throws(() => checkUrl('https://vault/x', 'https://pebble/directory'), CaProblem)
  t.throws(() => checkUrl('https://vault.internal/x', 'http://127.0.0.1:5/directory'), CaProblem)
})

t.test('takes the certificates of a chain and nothing else', async (t) => {
  const { issue, intermediatePem } = await createIssuer()
  const csr = await createRequest(['a.example'])
  const leaf = await issue({ csr, notBefore: new Date(), notAfter: new Date(Date.now() + 1e6) })
  const expected = [leaf, intermediatePem].map((one) => new X509Certificate(one).raw)
  t.same(parseChain(`Subject: a\r\n${leaf}\r\nIssuer:\n${intermediatePem}`), expected)
  const key = '-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n'
  const bodies = [
    undefined,
    { pem: leaf },
    '',
    key,
    '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n',
    leaf.repeat(11),
    leaf + ' '.repeat(200_000),
  ]
  for (const body of bodies) t.throws(() => parseChain(body), { code: 'ca_nonsense' })
})

t.test('reads no key of a kind that is not in use', async (t) => {
  const { issue } = await createIssuer()
  const csr = await createRequest(['a.example'])
  const leaf = await issue({ csr, notBefore: new Date(), notAfter: new Date(Date.now() + 1e6) })
  const hex = parseChain(leaf)[0]?.toString('hex') ?? ''
  // The last byte of the OID of a curve: P-256, and prime192v3.
  const odd = hex.replace('2a8648ce3d030107', '2a8648ce3d030103')
  t.not(odd, hex)
  const base64 = Buffer.from(odd, 'hex').toString('base64')
  const pem = `-----BEGIN CERTIFICATE-----\n${base64}\n-----END CERTIFICATE-----\n`
  t.ok(new X509Certificate(pem), 'Node reads it')
  t.throws(() => parseChain(pem), { code: 'ca_nonsense' })
})

t.test('fails in one way alone, whatever it is given', async (t) => {
  const parsers = [
    (body: unknown) => parseOrder(body, FROM),
    (body: unknown) => parseAuthorization(body, FROM),
    (body: unknown) => parseDirectory(body, { directory: DIRECTORY }),
    (body: unknown) => parseChain(body),
  ]
  const whole = { ...ORDER, ...AUTHORIZATION, ...RESOURCES, meta: {} }
  const isFine = (body: unknown) =>
    parsers.every((parse) => {
      try {
        parse(body)
        return true
      } catch (error) {
        return error instanceof CaProblem
      }
    })
  const odd = fc.record({ at: fc.constantFrom(...Object.keys(whole)), value: fc.jsonValue() })
  fc.assert(fc.property(odd, ({ at, value }) => isFine({ ...whole, [at]: value })))
  fc.assert(fc.property(fc.jsonValue(), isFine))
  t.pass('nothing else was thrown')
})
