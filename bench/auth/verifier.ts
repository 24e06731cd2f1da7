/** What `auth_request` asks: a server on Node and jose that verifies a token once and remembers it, and runs nginx as its child. */

import { spawn } from 'node:child_process'
import { createPublicKey } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createServer, type IncomingMessage } from 'node:http'
import { jwtVerify } from 'jose'

export interface VerifierSettings {
  readonly port: number
  readonly publicPemFile: string
  readonly audience: string
  readonly issuer: string
  readonly nginx: readonly string[]
}

/** Far more than are sent: what is measured is a verifier at its best. */
const MAX_KNOWN = 100_000

const { port, publicPemFile, audience, issuer, nginx }: VerifierSettings = JSON.parse(process.argv[2] ?? '')
const key = createPublicKey(readFileSync(publicPemFile))
/** Unix seconds of expiry, by token. */
const known = new Map<string, number>()

const server = createServer((request, response) => {
  isGood(request).then(
    (good) => {
      if (good) response.writeHead(204, { 'x-user': issuer }).end()
      else response.writeHead(401).end()
    },
    () => response.writeHead(401).end(),
  )
})
server.listen(port, '127.0.0.1', () => {
  const [file = '', ...args] = nginx
  const child = spawn(file, args, { stdio: 'inherit' })
  child.once('exit', (code) => process.exit(code ?? 1))
  process.once('SIGTERM', () => child.kill('SIGTERM'))
})

async function isGood({ headers }: IncomingMessage): Promise<boolean> {
  const token = /^Bearer (\S+)$/.exec(headers.authorization ?? '')?.[1] ?? ''
  const until = known.get(token)
  if (until !== undefined) return until > Date.now() / 1_000
  const { payload } = await jwtVerify(token, key, { algorithms: ['ES256'], audience, issuer })
  if (known.size < MAX_KNOWN) known.set(token, payload.exp ?? 0)
  return true
}
