/** HAProxy as an operator sets it up in front of applications. */

import { join } from 'node:path'
import type { ProxySetup, ProxySpec } from './proxy.ts'

export function haproxyProxy(setup: ProxySetup): ProxySpec {
  const { folder, programs } = setup
  return {
    name: 'HAProxy',
    command: [programs.haproxy.path, '-db', '-f', join(folder, 'haproxy.cfg')],
    ports: { ...setup.ports, h2: setup.ports.tls },
    config: { name: 'haproxy.cfg', text: configOf(setup) },
    accessLog: { name: 'access.ring', kind: 'ring' },
    setsRequestId: true,
  }
}

/** A ring in a mapped file is the only log of HAProxy's that costs no system call for each request. */
function configOf({ folder, ports, certificate, backendPort }: ProxySetup): string {
  return `global
  nbthread 1
  maxconn 4096
  log ring@access local0
  ssl-default-bind-options ssl-min-ver TLSv1.2
ring access
  format rfc5424
  maxlen 1200
  size 1048576
  backing-file ${join(folder, 'access.ring')}
defaults
  mode http
  log global
  option httplog
  timeout connect 5s
  timeout client 75s
  timeout server 120s
frontend edge
  bind 127.0.0.1:${ports.plain}
  bind 127.0.0.1:${ports.tls} ssl crt ${certificate.bothFile} alpn h2,http/1.1
  unique-id-format %[uuid()]
  unique-id-header X-Request-Id
  http-request set-header X-Forwarded-For %[src]
  http-request set-header X-Forwarded-Proto http unless { ssl_fc }
  http-request set-header X-Forwarded-Proto https if { ssl_fc }
  http-request set-header X-Forwarded-Host %[req.hdr(host)]
  http-request set-header X-Forwarded-Port %[dst_port]
  default_backend applications
backend applications
  server one 127.0.0.1:${backendPort}
`
}
