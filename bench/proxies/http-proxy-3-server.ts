/** A program of its own: a proxy made of nothing but http-proxy-3 and Node's servers. */

import { readFileSync } from 'node:fs'
import { Agent, createServer, type IncomingMessage, ServerResponse } from 'node:http'
import { createSecureServer } from 'node:http2'
import { createServer as createTlsServer } from 'node:https'
import { createProxyServer } from 'http-proxy-3'
import type { Ports } from './proxy.ts'

export interface HttpProxy3Settings {
  readonly ports: Ports
  readonly certFile: string
  readonly keyFile: string
  readonly backendPort: number
}

const settings: HttpProxy3Settings = JSON.parse(process.argv[2] ?? '')
const tls = { cert: readFileSync(settings.certFile), key: readFileSync(settings.keyFile) }
const proxy = createProxyServer({
  target: `http://127.0.0.1:${settings.backendPort}`,
  agent: new Agent({ keepAlive: true }),
  xfwd: true,
})
proxy.on('error', (_error, _req, res) => {
  if (res instanceof ServerResponse && !res.headersSent) res.writeHead(502).end()
  else res.destroy()
})
const serve = (req: IncomingMessage, res: ServerResponse) => proxy.web(req, res)
createServer(serve).listen(settings.ports.plain, '127.0.0.1')
createTlsServer(tls, serve).listen(settings.ports.tls, '127.0.0.1')
// Node's HTTP/2 compatibility objects are made to be used as those of HTTP/1, but not typed so.
const serveEither = serve as unknown as Parameters<typeof createSecureServer>[1]
createSecureServer({ ...tls, allowHTTP1: true }, serveEither).listen(settings.ports.h2, '127.0.0.1')
