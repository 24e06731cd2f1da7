/** A fleet's tokens and keys take little memory. */

import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import t from 'tap'
import { startAccessTable } from '../../../routing/access/access-table.ts'
import { createListLog } from '../../helpers/list-log.ts'
import { storeFor } from '../feed/followed-store.ts'
import { FAR, sshKeyOf, tokenOf } from './access-documents.ts'

setFlagsFromString('--expose-gc')
const collect: () => void = runInNewContext('gc')

function heapAfterGc(): number {
  collect()
  return process.memoryUsage().heapUsed
}

t.test('a hundred thousand tokens and keys take less than 0.7 kB each', async (t) => {
  const store = await storeFor(t)
  const count = 10_000
  const documents = Array.from({ length: count }, (_, n) => {
    const id = `token${String(n).padStart(7, '0')}`
    return [
      { key: `token/${id}`, value: { ...tokenOf(id), expiresAt: FAR } },
      { key: `key/${id}`, value: sshKeyOf(id, `user-${n}`) },
    ]
  }).flat()
  // A store that hands out new objects each time, as one over a network does.
  const parsed = {
    get: store.get.bind(store),
    watch: store.watch.bind(store),
    list: async (prefix: string, page?: { after?: string; limit?: number }) =>
      structuredClone(await store.list(prefix, page)),
  }
  for (let start = 0; start < documents.length; start += 1_000) {
    await store.commit(documents.slice(start, start + 1_000))
  }
  const before = heapAfterGc()
  const access = await startAccessTable({ store: parsed, log: createListLog() })
  t.teardown(() => access[Symbol.asyncDispose]())
  const bytes = heapAfterGc() - before
  t.ok(access.findApiToken('token0009999'))
  t.ok(bytes / count < 1_400, `${bytes / count} bytes for a token and a key`)
})
