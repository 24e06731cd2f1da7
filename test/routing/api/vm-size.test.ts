/** How large the rows of one VM become: a tenant cannot make the store, the feed and every edge carry megabytes. */

import t from 'tap'
import { putHostReport } from '../../../routing/vms/host-reports.ts'
import { type VmClient, vmApiFor } from './vm-client.ts'

const VM = '/v1/vms/big'
const PORTS = Array.from({ length: 50 }, (_unused, at) => 3_000 + at)
const NAMES = 50

/** A VM with as many host names as there can be, and grants of the largest kind for all ports until one is refused. */
async function fullVmFor({ call, web: token }: VmClient) {
  const ports = Object.fromEntries(PORTS.map((port) => [port, { visibility: 'public' }]))
  await call('PUT', VM, { token, body: { pool: 'web', ports } })
  for (let made = 0; made < NAMES; made += 1) {
    await call('PUT', `/v1/routes/h${made}.example.test`, { token, body: { vm: 'big', port: PORTS[made] } })
  }
  for (let made = 0; ; made += 1) {
    const body = grantTo(`${'u'.repeat(250)}${made}`)
    const answer = await call('PUT', `${VM}/grants/g${made}`, { token, body })
    if (answer.status !== 201) return answer
  }
}

function grantTo(value: string, ports = PORTS) {
  return { to: { kind: 'user', value }, role: 'viewer', ports }
}

/** Bytes of the largest row of the VM, and of all. */
async function bytesOf({ store }: VmClient) {
  const { documents } = await store.list('route/')
  const sizes = documents.map(({ value }) => Buffer.byteLength(JSON.stringify(value)))
  return { largest: Math.max(...sizes), all: sizes.reduce((sum, size) => sum + size, 0) }
}

t.test('grants stop where the rows of the VM would be too large for one commit', async (t) => {
  const client = await vmApiFor(t)
  const answer = await fullVmFor(client)
  t.match(answer, {
    status: 422,
    json: { code: 'api_record_invalid', field: '/to', detail: /1048576.*Take grants/ },
  })
  const { largest, all } = await bytesOf(client)
  t.ok(largest <= 16_384, `the largest row has ${largest} bytes`)
  t.ok(all <= 1_048_576, `all rows have ${all} bytes`)
  t.ok(all > 500_000, 'and not much less than they may')
})

t.test('a VM that is full still is what its owner and its host make of it, but does not grow', async (t) => {
  const client = await vmApiFor(t)
  const { call, store, web: token } = client
  await fullVmFor(client)
  const grants = `${VM}/grants`
  const [port = 0] = PORTS
  const done = async (method: string, path: string, body?: object) => {
    const { status = 0, text } = await call(method, path, { token, ...(body && { body }) })
    t.ok(status < 300, `${method} ${path}: ${text}`)
  }
  const body = grantTo('u'.repeat(250))
  t.match(await call('POST', grants, { token, body }), { status: 422, json: { field: '/to' } })
  await done('PUT', `${VM}/ports/${port}`, { visibility: 'private', isDefault: true })
  await done('PUT', VM, { state: 'stopped', comment: 'x'.repeat(200) })
  const ports = Object.fromEntries(PORTS.map((open) => [open, { host: '10.0.0.1', port: 40_000 }]))
  await putHostReport(store, { name: 'big', host: 'host-1', state: 'running', ports })
  t.ok((await bytesOf(client)).all <= 1_048_576, 'a report leaves it as large as it may be')
  const shorter = { ...grantTo(`${'u'.repeat(250)}0`), role: 'root', expiresAt: '2999-01-01T00:00:00.000Z' }
  await done('PUT', `${grants}/g0`, shorter)
  await done('DELETE', `${grants}/g0`)
  await done('DELETE', '/v1/routes/h7.example.test')
  await done('DELETE', VM)
})

t.test('one row has a bound of its own', async (t) => {
  const { call, web: token } = await vmApiFor(t)
  await call('PUT', VM, { token, body: { pool: 'web' } })
  const statuses: unknown[] = []
  for (let made = 0; made < 45; made += 1) {
    const { status, json } = await call('POST', `${VM}/grants`, {
      token,
      body: { ...grantTo(`${'u'.repeat(250)}${made}`, [9]) },
    })
    statuses.push(status)
    if (status !== 201) t.match(json, { field: '/to', detail: /16384/ })
  }
  t.same(new Set(statuses), new Set([201, 422]))
})
