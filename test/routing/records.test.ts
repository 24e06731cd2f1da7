/** Records and addresses: what is accepted, and which field is named when it is not. */

import t from 'tap'
import { formatAddress, toAddress } from '../../routing/address.ts'
import { parseRouteRecord, parseVmRecord } from '../../routing/records.ts'

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
const VM = { name: 'hello', state: 'running', generation: 1, ports: { '80': ADDRESS, '65535': ADDRESS } }

t.test('accepts whole records and freezes them', async (t) => {
  for (const record of [BARE, TO_VM, { ...TO_VM, upstream: ADDRESS }]) {
    const parsed = parseRouteRecord(structuredClone(record), 'route/a.example')
    t.strictSame(parsed, record)
    t.ok(Object.isFrozen(parsed) && (parsed.upstream === undefined || Object.isFrozen(parsed.upstream)))
  }
  const vm = parseVmRecord(structuredClone(VM), 'vm/hello')
  t.strictSame(vm, VM)
  t.ok(Object.isFrozen(vm) && Object.isFrozen(vm.ports) && Object.isFrozen(vm.ports['80']))
  t.strictSame(parseVmRecord({ ...VM, ports: {} }).ports, {})
})

t.test('names the field of a route record that is wrong', async (t) => {
  const cases: readonly [field: string, record: unknown][] = [
    ['', null],
    ['', [BARE]],
    ['', 'text'],
    ['/hostname', { ...BARE, hostname: 'A.example' }],
    ['/hostname', { ...BARE, hostname: 'localhost' }],
    ['/hostname', { ...BARE, hostname: undefined }],
    ['/hostname', { ...BARE, hostname: 'other.example' }],
    ['/visibility', { ...BARE, visibility: 'Public' }],
    ['/visibility', { ...BARE, visibility: ['public'] }],
    ['/upstream', { ...BARE, upstream: undefined }],
    ['/upstream', { ...BARE, upstream: '10.0.0.2:80' }],
    ['/upstream/host', { ...BARE, upstream: { host: '', port: 80 } }],
    ['/upstream/host', { ...BARE, upstream: { host: 'fe80::1%eth0', port: 80 } }],
    ['/upstream/host', { ...BARE, upstream: { host: 'A.example', port: 80 } }],
    ['/upstream/port', { ...BARE, upstream: { host: '::1', port: 0 } }],
    ['/upstream/port', { ...BARE, upstream: { host: '::1', port: '80' } }],
    ['/upstream/tls', { ...BARE, upstream: { ...ADDRESS, tls: true } }],
    ['/vm', { ...BARE, port: 80 }],
    ['/vm', { ...TO_VM, vm: 'a.b' }],
    ['/port', { ...TO_VM, port: undefined }],
    ['/port', { ...TO_VM, port: 65_536 }],
    ['/port', { ...TO_VM, port: 80.5 }],
    ['/state', { ...BARE, state: 'asleep' }],
    ['/generation', { ...BARE, generation: -1 }],
    ['/generation', { ...BARE, generation: 2 ** 53 }],
    ['/weight', { ...BARE, weight: 1 }],
    ['/a~1b~0c', { ...BARE, 'a/b~c': 1 }],
    ['/__proto__', JSON.parse(`{"__proto__": {}, "x": 1}`)],
  ]
  for (const [field, record] of cases) {
    const text = JSON.stringify(record)
    t.throws(() => parseRouteRecord(record, 'route/a.example'), { code: 'api_record_invalid', field }, text)
  }
})

t.test('names the field of a VM record that is wrong', async (t) => {
  const cases: readonly [field: string, record: unknown][] = [
    ['', undefined],
    ['/name', { ...VM, name: 'Hello' }],
    ['/name', { ...VM, name: 'other' }],
    ['/state', { ...VM, state: null }],
    ['/generation', { ...VM, generation: '1' }],
    ['/ports', { ...VM, ports: undefined }],
    ['/ports', { ...VM, ports: [] }],
    ['/ports', { ...VM, ports: { '0': ADDRESS } }],
    ['/ports', { ...VM, ports: { '080': ADDRESS } }],
    ['/ports', { ...VM, ports: { '65536': ADDRESS } }],
    ['/ports/80', { ...VM, ports: { '80': null } }],
    ['/ports/80/host', { ...VM, ports: { '80': { port: 1 } } }],
    ['/disk', { ...VM, disk: 1 }],
  ]
  for (const [field, record] of cases) {
    const text = JSON.stringify(record)
    t.throws(() => parseVmRecord(record, 'vm/hello'), { code: 'api_record_invalid', field }, text)
  }
})

t.test('reads addresses as people write them, and writes them back', async (t) => {
  const cases = {
    '127.0.0.1:9000': { host: '127.0.0.1', port: 9_000 },
    '[::1]:9000': { host: '::1', port: 9_000 },
    '[2001:db8::a]:1': { host: '2001:db8::a', port: 1 },
    'localhost:65535': { host: 'localhost', port: 65_535 },
    'app.internal:80': { host: 'app.internal', port: 80 },
  }
  for (const [text, address] of Object.entries(cases)) {
    t.strictSame(toAddress(text), address)
    t.equal(formatAddress(address), text)
  }
  t.strictSame(toAddress('[2001:DB8::A]:1'), { host: '2001:db8::a', port: 1 })
  t.strictSame(toAddress('App.Internal:80'), { host: 'app.internal', port: 80 })
})

t.test('finds no address in anything else', async (t) => {
  const texts = [
    '',
    ':80',
    '127.0.0.1',
    '127.0.0.1:',
    '127.0.0.1:0',
    '127.0.0.1:080',
    '127.0.0.1:65536',
    '::1:80',
  ]
  const more = [
    '[::1]',
    '[127.0.0.1]:80',
    '[::1%lo]:80',
    '127.1:80',
    '1.2.3.256:80',
    'a_b:80',
    'http://a:80',
    'a:80/',
    'a:1e3',
  ]
  for (const text of [...texts, ...more]) t.equal(toAddress(text), undefined, text)
})
