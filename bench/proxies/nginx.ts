/** nginx as an operator sets it up in front of applications. */

import { join } from 'node:path'
import type { ProxySetup, ProxySpec } from './proxy.ts'

export function nginxProxy(setup: ProxySetup): ProxySpec {
  const { folder, programs } = setup
  return {
    name: 'nginx',
    command: [programs.nginx.path, '-p', folder, '-c', join(folder, 'nginx.conf'), '-e', 'stderr'],
    ports: { ...setup.ports, h2: setup.ports.tls },
    config: { name: 'nginx.conf', text: configOf(setup) },
    accessLog: { name: 'access.log', kind: 'appended' },
    setsRequestId: true,
  }
}

/** The log's buffer and flush are Landfall's. Connections live as long as the load generators want them to. */
function configOf({ ports, hostname, certificate, backendPort }: ProxySetup): string {
  return `daemon off;
worker_processes 1;
pid nginx.pid;
error_log stderr warn;
events { worker_connections 4096; }
http {
  log_format main '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent '
    '"$http_referer" "$http_user_agent" $host $request_id $request_time '
    '$upstream_addr $upstream_connect_time $upstream_header_time $ssl_protocol';
  access_log access.log main buffer=16k flush=250ms;
  sendfile on;
  tcp_nopush on;
  keepalive_timeout 75s;
  keepalive_requests 1000000000;
  ssl_protocols TLSv1.2 TLSv1.3;
  ssl_session_cache shared:tls:10m;
  upstream backend {
    server 127.0.0.1:${backendPort};
    keepalive 64;
  }
  server {
    listen 127.0.0.1:${ports.plain};
    listen 127.0.0.1:${ports.tls} ssl http2;
    server_name ${hostname};
    ssl_certificate ${certificate.certFile};
    ssl_certificate_key ${certificate.keyFile};
    location / {
      proxy_pass http://backend;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Forwarded-Host $http_host;
      proxy_set_header X-Forwarded-Port $server_port;
      proxy_set_header X-Request-Id $request_id;
    }
  }
}
`
}
