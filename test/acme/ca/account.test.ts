/** The fleet's account at a certificate authority: one key and one account, whatever happens to the edges. */

import t from 'tap'
import { openCa } from '../../../acme/ca/acme-ca.ts'
import { CaProblem } from '../../../acme/ca/ca-problem.ts'
import { AcmeError } from '../../../acme/errors.ts'
import { digestOf } from '../../../lib/digest.ts'
import { createSealer } from '../../../lib/seal.ts'
import { caFor, createFleetBooks, failureOf, GO } from '../../helpers/ca-scene.ts'
import { QUIET_LOG } from '../../helpers/quiet-log.ts'
import { problem, smallCaFor } from '../../helpers/small-ca.ts'

const HMAC_KEY = Buffer.alloc(32, 9).toString('base64url')
const TERMS = 'https://ca.example/terms'

t.test('makes one account for edges that start at once', async (t) => {
  const small = await smallCaFor(t)
  const books = createFleetBooks()
  const edges = Array.from({ length: 5 }, () => caFor(t, small, books))
  const urls = await Promise.all(edges.flatMap((ca) => [ca.getAccount(GO), ca.getAccount(GO)]))
  t.equal(new Set(urls).size, 1)
  t.equal(small.requests.filter((resource) => resource === 'account').length, 1)
  t.same(small.accounts(), [urls[0]])
  t.equal(books.rows.get(small.directory)?.row.url, urls[0])
  t.equal(books.held.size, 0, 'nothing stays held')
  const thumbprints = await Promise.all(edges.map((ca) => ca.getThumbprint()))
  t.equal(new Set(thumbprints).size, 1)
})

t.test('uses the account that another edge has made, without asking for it', async (t) => {
  const small = await smallCaFor(t)
  const books = createFleetBooks()
  const url = await caFor(t, small, books).getAccount(GO)
  small.requests.length = 0
  t.equal(await caFor(t, small, books).getAccount(GO), url)
  t.same(small.requests, [])
})

t.test('saves the key before the authority hears of it', async (t) => {
  const small = await smallCaFor(t)
  const books = createFleetBooks()
  books.onPut = (row) => {
    if (row.url === undefined) t.equal(small.accounts().length, 0)
    t.notMatch(JSON.stringify(row), /PRIVATE KEY/)
  }
  small.fail('account', 'lose')
  const first = caFor(t, small, books)
  t.equal((await failureOf(first.getAccount(GO), CaProblem)).code, 'ca_unreachable')
  t.equal(small.accounts().length, 1, 'it was made, and the answer was lost')
  t.equal(books.rows.get(small.directory)?.row.url, undefined)
  const url = await caFor(t, small, books).getAccount(GO)
  t.same(small.accounts(), [url], 'the next edge comes with the same key')
})

t.test('has a thumbprint before it has an account', async (t) => {
  const small = await smallCaFor(t)
  const books = createFleetBooks()
  const ca = caFor(t, small, books)
  const thumbprint = await ca.getThumbprint()
  t.same(small.requests, [])
  const url = await ca.getAccount(GO)
  t.ok(url.endsWith(thumbprint), 'small-ca names accounts by their thumbprint')
})

t.test('makes an account anew with the same key when the authority has lost it', async (t) => {
  const small = await smallCaFor(t)
  const ca = caFor(t, small)
  await ca.getAccount(GO)
  const before = await ca.getThumbprint()
  small.forgetAccounts()
  const orders = await Promise.all(
    ['a', 'b'].map((name) => ca.createOrder({ names: [`${name}.example`] }, GO)),
  )
  t.same(
    orders.map(({ status }) => status),
    ['pending', 'pending'],
  )
  t.equal(await ca.getThumbprint(), before)
  t.equal(small.accounts().length, 1)
})

t.test('tries that once', async (t) => {
  const small = await smallCaFor(t)
  const ca = caFor(t, small)
  small.fail('newOrder', problem(400, 'accountDoesNotExist'), Number.POSITIVE_INFINITY)
  const error = await failureOf(ca.createOrder({ names: ['a.example'] }, GO), CaProblem)
  t.equal(error.code, 'ca_account')
  t.equal(small.requests.filter((resource) => resource === 'newOrder').length, 2)
})

t.test('agrees to terms only when told to, and says where they are', async (t) => {
  const small = await smallCaFor(t, { termsOfService: TERMS })
  const books = createFleetBooks()
  const ca = caFor(t, { ...small, agreesToTerms: false }, books)
  const error = await failureOf(ca.getAccount(GO), CaProblem)
  t.equal(error.code, 'ca_account')
  t.match(error.detail, TERMS)
  t.same(small.accounts(), [])
  t.ok(await caFor(t, small, books).getAccount(GO))
})

t.test('binds the account to an external one', async (t) => {
  const small = await smallCaFor(t, { externalAccounts: { mine: HMAC_KEY } })
  const books = createFleetBooks()
  const bare = await failureOf(caFor(t, small, books).getAccount(GO), CaProblem)
  t.equal(bare.code, 'ca_account')
  t.match(bare.detail, /LANDFALL_ACME_EAB_FILE/)
  const wrong = { kid: 'mine', hmacKey: Buffer.alloc(32, 1).toString('base64url') }
  const refused = caFor(t, { ...small, externalAccount: wrong }, books).getAccount(GO)
  t.match(await failureOf(refused, CaProblem), {
    code: 'ca_account',
    problem: { type: 'unauthorized', status: 403 },
  })
  t.ok(
    await caFor(t, { ...small, externalAccount: { kid: 'mine', hmacKey: HMAC_KEY } }, books).getAccount(GO),
  )
})

t.test('tells the address for contact, and agrees to nothing unless told to', async (t) => {
  const small = await smallCaFor(t)
  await caFor(t, { ...small, contact: 'ops@example.com', agreesToTerms: false }).getAccount(GO)
  t.same(small.registrations(), [{ contact: ['mailto:ops@example.com'] }])
  const other = await smallCaFor(t)
  await caFor(t, other).getAccount(GO)
  t.same(other.registrations(), [{ termsOfServiceAgreed: true }])
})

t.test('looks again once it may make the account: another edge may just have done so', async (t) => {
  const small = await smallCaFor(t)
  const books = createFleetBooks()
  const quick = caFor(t, small, books)
  const asked: string[] = []
  const find = async (name: string) => {
    asked.push(name)
    await quick.getAccount(GO)
    return books.holds.find(name)
  }
  const slow = caFor(t, small, { ...books, holds: { find } })
  const urls = await Promise.all([slow.getAccount(GO), slow.getAccount(GO), quick.getAccount(GO)])
  t.equal(new Set(urls).size, 1)
  t.equal(small.requests.filter((resource) => resource === 'account').length, 1)
  t.same(asked, [`account/${digestOf(small.directory)}`], 'one edge asks for the hold once')
})

t.test('waits for the edge that makes the account, no longer than it may', async (t) => {
  const small = await smallCaFor(t)
  const books = createFleetBooks()
  const ca = caFor(t, { ...small, requestMs: 50 }, books)
  await ca.getThumbprint()
  const name = `account/${digestOf(small.directory)}`
  await books.holds.find(name)
  const error = await failureOf(ca.getAccount(GO), CaProblem)
  t.match(error, { code: 'ca_unreachable', problem: { type: 'timeout' } })
  const patient = caFor(t, small, books)
  const controller = new AbortController()
  const waiting = failureOf(patient.getAccount(controller.signal), CaProblem)
  const other = patient.getAccount(GO)
  controller.abort()
  t.equal((await waiting).problem.type, 'aborted')
  books.held.delete(name)
  t.ok(await other, 'who still waits gets it')
})

t.test('says so when the key cannot be opened', async (t) => {
  const small = await smallCaFor(t)
  const books = createFleetBooks()
  await caFor(t, small, books).getAccount(GO)
  const sealer = createSealer(Buffer.alloc(32, 8))
  using ca = openCa({ ...books, sealer, log: QUIET_LOG }, { directory: small.directory, agreesToTerms: true })
  const error = await failureOf(ca.getAccount(GO), AcmeError)
  t.equal(error.code, 'certificate_setting')
})

t.test('lets a failure of the store be one', async (t) => {
  const small = await smallCaFor(t)
  const books = createFleetBooks()
  const away = new AcmeError('certificate_busy')
  const accounts = { ...books.accounts, find: () => Promise.reject(away) }
  const ca = caFor(t, small, { ...books, accounts })
  t.equal(await failureOf(ca.getAccount(GO), AcmeError), away)
})
