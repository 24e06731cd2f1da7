/** The bounds of a VM's rows: what makes them larger is refused, and nothing else. */

import t from 'tap'
import { BINDINGS, GRANTS } from '../../../routing/records/record-kinds.ts'
import type { VmParts } from '../../../routing/vms/vm-parts.ts'
import { checkSize } from '../../../routing/vms/vm-size.ts'
import { grantOf } from './vm-documents.ts'

type Sized = Pick<VmParts, 'grants' | 'bindings'>

/** Host names, each for a port of its own, and grants of 400 bytes each for these ports, or for the default one. */
function sized({ names, grants, ports }: { names: number; grants: number; ports?: number[] }): Sized {
  const value = 'v'.repeat(254)
  return {
    bindings: Array.from({ length: names }, (_unused, at) => {
      const record = { vm: 'a', hostname: `h${at}.example.test`, port: at + 1 }
      return { key: BINDINGS.keyOf(record), record, revision: 1 }
    }),
    grants: Array.from({ length: grants }, (_unused, at) => {
      const record = grantOf('a', `g${at}`, { to: { kind: 'user', value }, ...(ports && { ports }) })
      return { key: GRANTS.keyOf(record), record, revision: 1 }
    }),
  }
}

const refusal = (detail: RegExp) => ({ code: 'api_record_invalid', field: '/x', message: detail })

t.test('a row that becomes too large is refused, with the field at fault', (t) => {
  const full = sized({ names: 1, grants: 39 })
  t.throws(() => checkSize(full, sized({ names: 1, grants: 40 }), '/x'), refusal(/16384/))
  t.doesNotThrow(() => checkSize(sized({ names: 1, grants: 1 }), full, '/x'))
  t.end()
})

t.test('rows that become too large together are refused, whether by a grant or by a host name', (t) => {
  const full = sized({ names: 90, grants: 27 })
  t.doesNotThrow(() => checkSize(sized({ names: 0, grants: 0 }), full, '/x'))
  t.throws(() => checkSize(full, sized({ names: 90, grants: 28 }), '/x'), refusal(/1048576/))
  t.throws(() => checkSize(full, sized({ names: 91, grants: 28 }), '/x'), refusal(/1048576/))
  t.end()
})

t.test('what is too large already may become smaller, and stay as it is', (t) => {
  const before = sized({ names: 300, grants: 200 })
  t.doesNotThrow(() => checkSize(before, { ...before }, '/x'))
  t.doesNotThrow(() => checkSize(before, sized({ names: 300, grants: 200 }), '/x'))
  t.doesNotThrow(() => checkSize(before, sized({ names: 300, grants: 199 }), '/x'))
  t.doesNotThrow(() => checkSize(before, sized({ names: 299, grants: 200 }), '/x'))
  t.throws(() => checkSize(before, sized({ names: 301, grants: 200 }), '/x'), refusal(/./))
  t.end()
})

t.test('a grant counts in the rows of its ports, and where the default port may come to be', (t) => {
  const nothing = sized({ names: 0, grants: 0 })
  t.doesNotThrow(() => checkSize(nothing, sized({ names: 100, grants: 39, ports: [1, 2] }), '/x'))
  t.throws(() => checkSize(nothing, sized({ names: 100, grants: 39 }), '/x'), refusal(/1048576/))
  const { bindings, grants } = sized({ names: 1, grants: 40, ports: [9] })
  t.doesNotThrow(() => checkSize(nothing, { bindings, grants }, '/x'))
  const bare = bindings.map((stored) => ({ ...stored, record: { vm: 'a', hostname: 'a.example.test' } }))
  t.throws(() => checkSize(nothing, { bindings: bare, grants }, '/x'), refusal(/16384/))
  t.end()
})

t.test('grants to VMs are in no row and count for none', (t) => {
  const { bindings, grants } = sized({ names: 1, grants: 100 })
  const peers = grants.map((stored, at) => ({
    ...stored,
    record: { ...stored.record, to: { kind: 'vm' as const, value: `vm-${at}` } },
  }))
  t.doesNotThrow(() => checkSize(sized({ names: 1, grants: 0 }), { bindings, grants: peers }, '/x'))
  t.end()
})
