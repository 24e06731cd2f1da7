/** Rows for tests, written straight into the store: what serving a host name takes, without a VM behind it. */

import { ROUTES } from '../../routing/records/record-kinds.ts'
import type { RouteRecord } from '../../routing/records/records.ts'
import type { Store } from '../../routing/store/store.ts'

export type TestRoute = Pick<RouteRecord, 'hostname'> & Partial<RouteRecord>

/** Writes a row; private and running unless told otherwise. Returns its revision. @throws RecordInvalid */
export async function putTestRoute(store: Pick<Store, 'put'>, route: TestRoute): Promise<number> {
  const record = ROUTES.parse({ visibility: 'private', state: 'running', generation: 0, ...route })
  return store.put(ROUTES.keyOf(record), { ...record })
}
