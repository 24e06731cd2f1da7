/** nginx that asks a verifier about each request with `auth_request`; both are one process tree, and their CPU time one figure. */

import { fileURLToPath } from 'node:url'
import { nginxProxy } from '../proxies/nginx.ts'
import type { ProxySetup, ProxySpec } from '../proxies/proxy.ts'
import type { Tokens } from './tokens.ts'
import type { VerifierSettings } from './verifier.ts'

const VERIFIER = fileURLToPath(new URL('verifier.ts', import.meta.url))
const ANCHOR = '      proxy_pass http://backend;\n'
const LAST = '  server {\n'

export function nginxAuthRequest(setup: ProxySetup, { publicPemFile, user }: Tokens): ProxySpec {
  const spec = nginxProxy(setup)
  // nginx takes HTTP/2 on the port for TLS, so this one is free.
  const port = setup.ports.h2
  const settings: VerifierSettings = {
    ...{ port, publicPemFile, audience: setup.hostname, issuer: user },
    nginx: [...spec.command],
  }
  const text = (spec.config?.text ?? '')
    .replace(ANCHOR, `${ASKING}${ANCHOR}`)
    .replace(LAST, `  upstream verifier { server 127.0.0.1:${port}; keepalive 64; }\n${LAST}${LOCATION}`)
  return {
    ...spec,
    name: 'nginx auth_request',
    command: [process.execPath, VERIFIER, JSON.stringify(settings)],
    config: { name: 'nginx.conf', text },
  }
}

const ASKING = `      auth_request /verify;
      auth_request_set $user $upstream_http_x_user;
      proxy_set_header X-User $user;
      proxy_set_header Authorization "";
`

const LOCATION = `    location = /verify {
      internal;
      proxy_pass http://verifier;
      proxy_http_version 1.1;
      proxy_pass_request_body off;
      proxy_set_header Connection "";
      proxy_set_header Content-Length "";
    }
`
