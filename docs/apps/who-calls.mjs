/** Tells callers who they are, and believes nothing that is not signed: `node who-calls.mjs https://<own host> <port>`. */

import { createServer } from 'node:http'
import { createRemoteJWKSet, jwtVerify } from 'jose'

const [origin = '', port = '8000'] = process.argv.slice(2)
const keys = createRemoteJWKSet(new URL('/.well-known/landfall/jwks.json', origin))
const rules = {
  audience: new URL(origin).hostname,
  typ: 'landfall-assertion+jwt',
  algorithms: ['ES256'],
  requiredClaims: ['sub', 'exp'],
  maxTokenAge: 300,
  clockTolerance: 5,
}

createServer(async (request, response) => {
  const assertion = request.headers['x-landfall-assertion']
  if (assertion === undefined) return response.end('You are a stranger.\n')
  try {
    const { payload } = await jwtVerify(assertion, keys, rules)
    response.end(`You are ${payload.email ?? payload.sub}.\n`)
  } catch {
    response.writeHead(401).end('That cannot be checked.\n')
  }
}).listen(port)
