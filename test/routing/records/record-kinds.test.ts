/** Records: what readers accept, and which field is named when they do not. */

import t from 'tap'
import {
  CALLS,
  findRecord,
  GRANTS,
  GRAVES,
  listRecords,
  POOLS,
  REPORTS,
  ROUTES,
  SNAPSHOTS,
  VMS,
} from '../../../routing/records/record-kinds.ts'
import { startMemoryStore } from '../../../routing/store/memory-store.ts'

const NOW = '2026-01-31T12:00:00.000Z'
const ADDRESS = { host: '10.0.0.2', port: 8_000 }
const BARE = {
  hostname: 'a.example',
  visibility: 'public',
  upstream: ADDRESS,
  state: 'running',
  generation: 0,
}
const TO_VM = {
  hostname: 'a.example',
  visibility: 'private',
  vm: 'hello',
  port: 80,
  state: 'stopped',
  generation: 3,
}
const REPORT = {
  name: 'hello',
  host: 'local',
  state: 'running',
  generation: 1,
  ports: { '80': ADDRESS, '65535': ADDRESS },
}
const VM = { name: 'hello', pool: 'a', image: 'hello', state: 'running', ports: {}, createdAt: NOW }

t.test('accepts whole records and freezes them', async (t) => {
  for (const record of [BARE, TO_VM, { ...TO_VM, upstream: ADDRESS }]) {
    const parsed = ROUTES.parse(structuredClone(record), 'route/a.example')
    t.strictSame(parsed, record)
    t.ok(Object.isFrozen(parsed))
  }
  t.strictSame(REPORTS.parse(structuredClone(REPORT), 'report/hello'), REPORT)
  t.strictSame(VMS.parse(VM), VM)
})

t.test('leaves out a field that this version does not know, and keeps the record', async (t) => {
  t.strictSame(ROUTES.parse({ ...BARE, weight: 1 }, 'route/a.example'), BARE)
  t.strictSame(VMS.parse({ ...VM, region: { name: 'x' } }), VM)
})

t.test('names the field of a route that is wrong', async (t) => {
  const cases: readonly [field: string, record: unknown][] = [
    ['', null],
    ['', [BARE]],
    ['', 'text'],
    ['/hostname', { ...BARE, hostname: 'A.example' }],
    ['/hostname', { ...BARE, hostname: 'localhost' }],
    ['/hostname', { ...BARE, hostname: undefined }],
    ['', { ...BARE, hostname: 'other.example' }],
    ['/visibility', { ...BARE, visibility: 'Public' }],
    ['/visibility', { ...BARE, visibility: ['public'] }],
    ['/upstream', { ...BARE, upstream: undefined }],
    ['/upstream', { ...BARE, upstream: '10.0.0.2:80' }],
    ['/upstream/host', { ...BARE, upstream: { host: '', port: 80 } }],
    ['/upstream/host', { ...BARE, upstream: { host: 'fe80::1%eth0', port: 80 } }],
    ['/upstream/host', { ...BARE, upstream: { host: 'A.example', port: 80 } }],
    ['/upstream/port', { ...BARE, upstream: { host: '::1', port: 0 } }],
    ['/upstream/port', { ...BARE, upstream: { host: '::1', port: '80' } }],
    ['/vm', { ...BARE, port: 80 }],
    ['/vm', { ...TO_VM, vm: 'a.b' }],
    ['/port', { ...TO_VM, port: undefined }],
    ['/port', { ...TO_VM, port: 65_536 }],
    ['/port', { ...TO_VM, port: 80.5 }],
    ['/state', { ...BARE, state: 'asleep' }],
    ['/generation', { ...BARE, generation: -1 }],
    ['/generation', { ...BARE, generation: 2 ** 53 }],
    ['/grants', { ...BARE, grants: {} }],
    ['/grants/0/role', { ...BARE, grants: [{ id: 'a', to: { kind: 'user', value: 'u' }, role: 'king' }] }],
  ]
  for (const [field, record] of cases) {
    const text = JSON.stringify(record)
    t.throws(() => ROUTES.parse(record, 'route/a.example'), { code: 'api_record_invalid', field }, text)
  }
})

t.test('names the field of a report that is wrong', async (t) => {
  const cases: readonly [field: string, record: unknown][] = [
    ['', undefined],
    ['/name', { ...REPORT, name: 'Hello' }],
    ['', { ...REPORT, name: 'other' }],
    ['/state', { ...REPORT, state: null }],
    ['/generation', { ...REPORT, generation: '1' }],
    ['/ports', { ...REPORT, ports: undefined }],
    ['/ports', { ...REPORT, ports: [] }],
    ['/ports/0', { ...REPORT, ports: { '0': ADDRESS } }],
    ['/ports/080', { ...REPORT, ports: { '080': ADDRESS } }],
    ['/ports/65536', { ...REPORT, ports: { '65536': ADDRESS } }],
    ['/ports/80', { ...REPORT, ports: { '80': null } }],
    ['/ports/80/host', { ...REPORT, ports: { '80': { port: 1 } } }],
    ['/message', { ...REPORT, message: 'x'.repeat(1_001) }],
  ]
  for (const [field, record] of cases) {
    const text = JSON.stringify(record)
    t.throws(() => REPORTS.parse(record, 'report/hello'), { code: 'api_record_invalid', field }, text)
  }
})

t.test('takes moments in UTC only', async (t) => {
  const pool = { name: 'a', cpuMillis: 100, memoryBytes: 0, diskBytes: 0 }
  for (const createdAt of ['2026-01-31T12:00:00Z', '2024-02-29T23:59:59.999Z'])
    t.equal(POOLS.parse({ ...pool, createdAt }).createdAt, createdAt)
  for (const createdAt of ['2026-13-01T00:00:00Z', '2026-01-31', '2026-01-31T12:00:00+01:00', 'now', 1])
    t.throws(
      () => POOLS.parse({ ...pool, createdAt }),
      { code: 'api_record_invalid', field: '/createdAt' },
      String(createdAt),
    )
})

t.test('lists what can be read and names what cannot', async (t) => {
  const store = await startMemoryStore()
  t.teardown(() => store[Symbol.asyncDispose]())
  const grant = { id: 'a', vm: 'hello', to: { kind: 'email', value: 'a@b.example' }, role: 'viewer' }
  const whole = { ...grant, createdAt: NOW, createdBy: 'x' }
  await store.put('grant/hello/a', whole)
  await store.put('grant/hello/b', { ...whole, id: 'c' })
  await store.put('grant/hello2/a', { ...whole, vm: 'hello2' })
  const listed = await Array.fromAsync(listRecords(store, GRANTS, 'hello/'))
  t.strictSame(listed, [{ key: 'grant/hello/a', record: whole, revision: 1 }])
  t.equal(await findRecord(store, GRANTS, 'hello/x'), undefined)
  await t.rejects(findRecord(store, GRANTS, 'hello/b'), { code: 'api_record_broken' })
})

t.test('what belongs to a VM has a key of its own, and names the field that is wrong', (t) => {
  const snapshot = {
    ...{ id: 's1', vm: 'a', vmCreatedAt: NOW, pool: 'p', kind: 'made', state: 'wanted', createdAt: NOW },
  }
  const grave = { vm: 'a', vmCreatedAt: NOW, pool: 'p', host: 'h', deletedAt: NOW }
  const call = { vm: 'a', what: 'wake', id: 'c', at: NOW }
  const good: readonly [parse: (value: unknown, key: string) => unknown, key: string, record: object][] = [
    [SNAPSHOTS.parse, 'snapshot/a/s1', snapshot],
    [GRAVES.parse, `grave/a/${NOW}`, grave],
    [GRAVES.parse, `grave/a/${NOW}/s1`, { ...grave, snapshot: 's1' }],
    [CALLS.parse, 'call/a', call],
  ]
  for (const [parse, key, record] of good) {
    t.strictSame(parse(record, key), record)
    t.throws(() => parse(record, `${key}x`), { code: 'api_record_invalid', field: '' }, key)
  }
  t.throws(() => SNAPSHOTS.parse({ ...snapshot, state: 'done' }), {
    code: 'api_record_invalid',
    field: '/state',
  })
  t.throws(() => GRAVES.parse({ ...grave, host: undefined }), { code: 'api_record_invalid', field: '/host' })
  t.throws(() => CALLS.parse({ ...call, what: 'dance' }), { code: 'api_record_invalid', field: '/what' })
  t.end()
})

t.test('takes of a VM and of its report what has a size or a form, within bounds', (t) => {
  const good = { ...VM, cpus: 64, memoryBytes: 2 ** 26, diskBytes: 2 ** 44, weight: 1, egress: 'none' }
  const source = { vm: 'a', createdAt: NOW, snapshot: 's' }
  const whole = { ...good, suspendAfterSeconds: 5, source, restore: { id: 'r', snapshot: 's' } }
  t.strictSame(VMS.parse(whole), whole)
  for (const [field, more] of [
    ['/cpus', { cpus: 65 }],
    ['/memoryBytes', { memoryBytes: 2 ** 26 - 1 }],
    ['/diskBytes', { diskBytes: 2 ** 44 + 1 }],
    ['/weight', { weight: 0 }],
    ['/egress', { egress: 'half' }],
    ['/suspendAfterSeconds', { suspendAfterSeconds: 4 }],
    ['/source/createdAt', { source: { vm: 'a' } }],
    ['/restore/id', { restore: { snapshot: 's' } }],
  ] as const) {
    t.throws(() => VMS.parse({ ...whole, ...more }), { code: 'api_record_invalid', field }, field)
  }
  const hostKey = `ssh-ed25519 ${'A'.repeat(68)}`
  const report = { ...REPORT, state: 'asleep', defaultPort: 80, hostKey }
  t.strictSame(REPORTS.parse(report), report)
  for (const key of [`${hostKey}\n`, `${hostKey} me`, 'ssh-rsa AAAA', '']) {
    t.throws(
      () => REPORTS.parse({ ...report, hostKey: key }),
      { code: 'api_record_invalid', field: '/hostKey' },
      key,
    )
  }
  t.end()
})
