/** What each proxy has to prove before it is timed: a proxy that does less than the others would look fast. */

import { BenchError } from '../frame/benchmark.ts'
import { type Answer, sendRequest } from '../frame/request.ts'
import { BACKEND_BODY, type BackendFields, FIELDS_PATH } from '../proxies/backend.ts'
import type { RunningProxy } from '../proxies/proxy.ts'
import type { Lineup } from './lineup.ts'
import type { Scenario } from './scenarios.ts'

/** @throws BenchError naming what is wrong with the answer, the fields that reached the backend or the log */
export async function checkProxy(
  proxy: RunningProxy,
  scenario: Scenario,
  { hostname, caPem, signal }: Pick<Lineup, 'hostname' | 'caPem'> & { signal: AbortSignal },
): Promise<void> {
  const port = proxy.ports[scenario.port]
  const question = { protocol: scenario.name, port, hostname, caPem, signal }
  const plain = await sendRequest({ ...question, path: '/' })
  const shown = await sendRequest({ ...question, path: FIELDS_PATH })
  const expected = {
    host: `${hostname}:${port}`,
    scheme: scenario.scheme,
    setsRequestId: proxy.setsRequestId,
  }
  const faults = [...findAnswerFaults(plain, scenario), ...findFieldFaults(shown, expected)]
  if (faults.length > 0) throw new BenchError(`${proxy.name}, ${scenario.name}: ${faults.join('; ')}`)
  await proxy.checkLogged(FIELDS_PATH)
}

export function findAnswerFaults({ status, body, tlsVersion }: Answer, { scheme }: Pick<Scenario, 'scheme'>) {
  const wantedTls = scheme === 'https' ? 'TLSv1.3' : undefined
  return [
    ...(status === 200 ? [] : [`status ${status} instead of 200`]),
    ...(body === BACKEND_BODY ? [] : [`not the backend's body: ${body.slice(0, 200)}`]),
    ...(tlsVersion === wantedTls ? [] : [`${tlsVersion} instead of ${wantedTls}`]),
  ]
}

export interface ExpectedFields extends Pick<Scenario, 'scheme'> {
  readonly host: string
  readonly setsRequestId: boolean
}

export function findFieldFaults({ status, body }: Answer, expected: ExpectedFields): string[] {
  if (status !== 200) return [`${FIELDS_PATH} answers ${status}`]
  const fields: BackendFields = JSON.parse(body)
  const { host, forwardedFor, forwardedProto, requestId } = fields
  const reached = (name: string, value: string) => `the backend got ${name} "${value}"`
  return [
    ...(host === expected.host ? [] : [reached('Host', host)]),
    ...(forwardedFor === '127.0.0.1' ? [] : [reached('X-Forwarded-For', forwardedFor)]),
    ...(forwardedProto === expected.scheme ? [] : [reached('X-Forwarded-Proto', forwardedProto)]),
    ...((requestId !== '') === expected.setsRequestId ? [] : [reached('X-Request-Id', requestId)]),
  ]
}
