/** What a host shows while its certificate is being made: answers to its CA, the reason to people, its VM to nobody. */

import t, { type Test } from 'tap'
import { AcmeError } from '../../acme/errors.ts'
import type { Certificates } from '../../proxy/certificates.ts'
import { codeOf } from '../helpers/attacked-edge.ts'
import { type GatedProxy, gatedProxyFor, HOST } from '../helpers/gated-proxy.ts'
import { h2Exchange } from '../helpers/h2-client.ts'
import { exchange, isWhole, type RawAnswer } from '../helpers/raw-client.ts'
import { scriptedVmFor, upgradeRequest, VM_OK } from '../helpers/scripted-vm.ts'

const TOKEN = 'evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA'
const ANSWER = `${TOKEN}.9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI`
const PATH = `/.well-known/acme-challenge/${TOKEN}`

async function sceneFor(t: Test, certificates: Partial<Certificates>, env: Record<string, string> = {}) {
  const vm = await scriptedVmFor(t, (socket) => void socket.write(VM_OK))
  const settings = { upstream: vm.port, certificates, env, row: { visibility: 'public' as const } }
  return { vm, proxy: await gatedProxyFor(t, settings) }
}

const answers: Partial<Certificates> = {
  findHttpAnswer: (host, token) => (host === HOST && token === TOKEN ? ANSWER : undefined),
}

const get = (target: string, { method = 'GET', host = HOST } = {}) =>
  `${method} ${target} HTTP/1.1\r\nHost: ${host}\r\n\r\n`

async function ask(proxy: GatedProxy, request: string): Promise<RawAnswer> {
  return exchange(await proxy.dialPlain(), request, isWhole)
}

for (const mode of ['redirect', 'relay']) {
  t.test(`answers a pending token on the plain port (${mode})`, async (t) => {
    const { proxy, vm } = await sceneFor(t, answers, { LANDFALL_HTTP_MODE: mode })
    const answer = await ask(proxy, get(PATH))
    t.match(answer, { status: 200, body: ANSWER })
    t.match(answer.headers, { 'content-type': 'application/octet-stream', 'cache-control': 'no-store' })
    const request = get(PATH, { method: 'HEAD', host: `${HOST.toUpperCase()}.:80` })
    const head = await exchange(await proxy.dialPlain(), request, (text) => text.endsWith('\r\n\r\n'))
    t.match(head, { status: 200, body: '' })
    t.same(vm.requests, [])
    t.match(proxy.accessLog, [{ status: 200 }, { status: 200 }])
  })
}

t.test('answers over TLS as well, whatever certificate the CA was shown', async (t) => {
  const { proxy } = await sceneFor(t, { ...answers, covers: () => false })
  t.match(await exchange(await proxy.dial(), get(PATH), isWhole), { status: 200, body: ANSWER })
  const session = await proxy.h2()
  t.match(await h2Exchange(session, { ':path': PATH, ':authority': HOST }), { status: 200, body: ANSWER })
})

t.test('leaves every other path, token, method and host to the VM', async (t) => {
  const { proxy, vm } = await sceneFor(t, answers)
  const others = [
    get(`${PATH}x`),
    get(`${PATH}?x=1`),
    get(`${PATH}/`),
    get('/.well-known/acme-challenge/'),
    get('/.well-known/acme-challenge/short'),
    get(PATH.toUpperCase()),
    get(`/x${PATH}`),
    get(PATH, { method: 'DELETE' }),
    `POST ${PATH} HTTP/1.1\r\nHost: ${HOST}\r\nContent-Length: 0\r\n\r\n`,
    upgradeRequest(HOST, '', PATH),
  ]
  for (const request of others) {
    const answer = await ask(proxy, request)
    t.notMatch(answer.body, ANSWER, request.split('\r\n')[0] ?? '')
  }
  t.equal(vm.requests.length, others.length, 'the VM got each of them')
  t.match(await ask(proxy, get(PATH, { host: 'other.localhost' })), { status: 404 })
})

t.test('redirects what is not pending, as every other path', async (t) => {
  const { proxy } = await sceneFor(t, answers, { LANDFALL_HTTP_MODE: 'redirect' })
  t.match(await ask(proxy, get(`${PATH}x`)), { status: 308 })
})

t.test('says on the plain port why there is no certificate, and redirects once there is one', async (t) => {
  let lack: AcmeError | undefined = new AcmeError('certificate_pending')
  const findLack = (host: string) => (host === HOST ? lack : undefined)
  let isCovered = false
  const certificates = { ...answers, findLack, covers: () => isCovered }
  const { proxy } = await sceneFor(t, certificates, { LANDFALL_HTTP_MODE: 'redirect' })
  const refused = await ask(proxy, get('/x'))
  t.match({ ...refused, code: codeOf(refused) }, { status: 503, code: 'certificate_pending' })
  t.match(refused.headers, { 'retry-after': /^\d+$/, 'proxy-status': /error=tls_certificate_error/ })
  t.match(await ask(proxy, get(PATH)), { status: 200 }, 'the CA has its answer meanwhile')
  lack = undefined
  const ordering = await ask(proxy, get('/x'))
  t.match(ordering, { status: 308, headers: { 'cache-control': 'no-store' } }, 'the handshake may fail')
  isCovered = true
  const certain = await ask(proxy, get('/x'))
  t.equal(certain.status, 308)
  t.notOk('cache-control' in certain.headers)
})

t.test('says over TLS why the certificate does not cover the host that was asked for', async (t) => {
  const findLack = () => new AcmeError('certificate_busy')
  const { proxy, vm } = await sceneFor(t, { findLack, covers: () => false })
  const answer = await exchange(await proxy.dial(), get('/x'), isWhole)
  t.match({ ...answer, code: codeOf(answer) }, { status: 503, code: 'certificate_busy' })
  t.match(await h2Exchange(await proxy.h2(), { ':path': '/', ':authority': HOST }), { status: 503 })
  const other = await exchange(await proxy.dial(), get('/x', { host: 'other.localhost' }), isWhole)
  t.match({ ...other, code: codeOf(other) }, { status: 421, code: 'route_misdirected' }, 'another name')
  t.same(vm.requests, [])
})

t.test('serves a host that its certificate covers, whatever is lacking', async (t) => {
  const findLack = () => new AcmeError('certificate_pending')
  const { proxy } = await sceneFor(t, { findLack, covers: () => true })
  t.match(await exchange(await proxy.dial(), get('/x'), isWhole), { status: 200 })
})
