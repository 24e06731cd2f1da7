/** What a CA issued is looked at before it is served, and what is asked for is no more than is needed. */

// Before @peculiar/x509, which needs it.
import 'reflect-metadata'
import { createHash, X509Certificate } from 'node:crypto'
import { Pkcs10CertificateRequest } from '@peculiar/x509'
import t from 'tap'
import { generateKey } from '../../../acme/keys.ts'
import { readIssuedChain } from '../../../acme/orders/issued-chain.ts'
import { OrderTrouble } from '../../../acme/orders/order-trouble.ts'
import { createSigningRequest } from '../../../acme/orders/signing-request.ts'
import { createIssuer } from '../../helpers/small-ca-issuer.ts'

const DAY_MS = 86_400_000
const nowMs = Date.now()
const names = ['platform.example', '*.platform.example']
const issuer = await createIssuer()
const key = await generateKey('ec')
const csr = await createSigningRequest(names, key)
const times = { notBefore: new Date(nowMs - DAY_MS), notAfter: new Date(nowMs + DAY_MS) }
const leafPem = await issuer.issue({ csr, ...times })
const pem = `${leafPem}\n${issuer.intermediatePem}`
const expected = { names, key, nowMs }

function toDers(text: string): readonly Buffer[] {
  const blocks = text.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? []
  return blocks.map((block) => Buffer.from(block.replaceAll(/-----[A-Z ]+-----|\s/g, ''), 'base64'))
}

t.test('gives the chain in DER without its root', async (t) => {
  const { chain, notAfter } = readIssuedChain(toDers(`${pem}\n${issuer.rootPem}`), expected)
  t.equal(chain.length, 2)
  const leaf = new X509Certificate(Buffer.from(chain[0] ?? '', 'base64'))
  t.ok(leaf.checkPrivateKey(key))
  t.equal(notAfter.getTime(), Math.floor(times.notAfter.getTime() / 1_000) * 1_000)
})

const otherKey = await generateKey('ec')
const stapled = await issuer.issue({ csr, ...times, isMustStaple: true })
const otherIssuer = await createIssuer()
const refused = [
  { name: 'another key', text: pem, changes: { key: otherKey }, reason: /key belongs to none/ },
  {
    name: 'other names',
    text: pem,
    changes: { names: ['a.example'] },
    reason: /does not cover "a\.example"/,
  },
  { name: 'an end in the past', text: pem, changes: { nowMs: nowMs + 2 * DAY_MS }, reason: /ended at/ },
  {
    name: 'a start in the future',
    text: pem,
    changes: { nowMs: nowMs - 2 * DAY_MS },
    reason: /begins only at/,
  },
  { name: 'must-staple', text: stapled, changes: {}, reason: /stapled/ },
  {
    name: 'a strange intermediate',
    text: `${leafPem}\n${otherIssuer.intermediatePem}`,
    changes: {},
    reason: /chain/,
  },
  { name: 'nothing', text: '', changes: {}, reason: /no certificate/ },
  {
    name: 'what is no certificate',
    text: '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----',
    changes: {},
    reason: /cannot be read/,
  },
  { name: 'more than is sensible', text: `${pem}\n`.repeat(20), changes: {}, reason: /certificates/ },
]
for (const { name, text, changes, reason } of refused) {
  t.test(`refuses ${name}`, async (t) => {
    const error = await Promise.try(() => readIssuedChain(toDers(text), { ...expected, ...changes })).catch(
      (thrown: unknown) => thrown,
    )
    if (!(error instanceof OrderTrouble)) throw new Error('it was taken', { cause: error })
    t.match(error.trouble, { code: 'ca_nonsense', isOfCa: true, keepsOrder: false, detail: reason })
  })
}

for (const keyType of ['ec', 'rsa'] as const) {
  t.test(`asks for names alone with an ${keyType} key: no common name, no must-staple`, async (t) => {
    const long = `${'a'.repeat(60)}.customer.example`
    const leafKey = await generateKey(keyType)
    const request = new Pkcs10CertificateRequest(await createSigningRequest([long], leafKey))
    t.equal(request.subject, '')
    t.ok(await request.verify())
    t.notOk(request.getExtension('1.3.6.1.5.5.7.1.24'))
    t.equal(leafKey.asymmetricKeyType, keyType)
    if (keyType === 'rsa') t.equal(leafKey.asymmetricKeyDetails?.modulusLength, 2_048)
    else t.equal(leafKey.asymmetricKeyDetails?.namedCurve, 'prime256v1')
  })
}

t.test('makes another key each time', async (t) => {
  const digests = await Promise.all(
    [1, 2].map(async () => {
      const one = await generateKey('ec')
      return createHash('sha256')
        .update(one.export({ type: 'pkcs8', format: 'der' }))
        .digest('hex')
    }),
  )
  t.not(digests[0], digests[1])
})
