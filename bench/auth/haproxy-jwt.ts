/** HAProxy that checks each request's JWT with `jwt_verify`, as its manual shows: algorithm, issuer, audience, times, signature. */

import { haproxyProxy } from '../proxies/haproxy.ts'
import type { ProxySetup, ProxySpec } from '../proxies/proxy.ts'
import type { Tokens } from './tokens.ts'

const ANCHOR = '  default_backend applications\n'

export function haproxyJwt(setup: ProxySetup, { publicPemFile, user }: Tokens): ProxySpec {
  const spec = haproxyProxy(setup)
  const text = spec.config?.text.replace(ANCHOR, `${rules(setup.hostname, user, publicPemFile)}${ANCHOR}`)
  return { ...spec, name: 'HAProxy jwt_verify', config: { name: 'haproxy.cfg', text: text ?? '' } }
}

function rules(hostname: string, user: string, publicPemFile: string): string {
  const refuse = (condition: string) => `  http-request deny deny_status 401 unless ${condition}\n`
  return `  http-request set-var(txn.bearer) http_auth_bearer
  http-request set-var(txn.alg) var(txn.bearer),jwt_header_query('$.alg')
  http-request set-var(txn.iss) var(txn.bearer),jwt_payload_query('$.iss')
  http-request set-var(txn.aud) var(txn.bearer),jwt_payload_query('$.aud')
  http-request set-var(txn.exp) var(txn.bearer),jwt_payload_query('$.exp','int')
  http-request set-var(txn.now) date()
${refuse('{ var(txn.alg) -m str ES256 }')}${refuse(`{ var(txn.iss) -m str ${user} }`)}${refuse(`{ var(txn.aud) -m str ${hostname} }`)}  http-request deny deny_status 401 if { var(txn.exp),sub(txn.now) -m int lt 0 }
${refuse(`{ var(txn.bearer),jwt_verify(txn.alg,"${publicPemFile}") 1 }`)}  http-request set-header X-User %[var(txn.iss)]
  http-request del-header Authorization
`
}
