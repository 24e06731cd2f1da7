/** Who gets to a private port of a VM with `landfall tunnel`, through a real edge, and what sharing prints there. */

import { once } from 'node:events'
import { mkdirSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { join } from 'node:path'
import { decodeJwt } from 'jose'
import t, { type Test } from 'tap'
import { edgeFor, type TestEdge } from '../helpers/edge.ts'
import { fakeHostFor } from '../helpers/fake-host.ts'
import { folderFor } from '../helpers/folder.ts'
import { exchange, isWhole } from '../helpers/raw-client.ts'
import { until } from '../helpers/until.ts'
import { cliFor } from './cli-process.ts'
import { type KeyKind, KINDS, missingKeygen, writeKey } from './ssh-keys.ts'

const skip = missingKeygen()
const [ED25519] = KINDS as readonly [KeyKind]

/** A VM `amber` of the pool `default` with a private port 22, behind which a server says hello. */
async function sceneFor(t: Test) {
  const edge = await edgeFor(t)
  const server = createServer((socket) => socket.end('hello')).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const { port } = server.address() as AddressInfo
  const ports = { 22: port, 8000: port }
  const host = await fakeHostFor(t, edge, { vm: 'amber', ports, visibility: 'private' })
  await host.report('running')
  const home = folderFor(t)
  mkdirSync(join(home, '.ssh'))
  const cli = cliFor(t, environmentOf(edge, home))
  const run = async (line: string, env: Readonly<Record<string, string>> = {}) =>
    cli(line.split(' '), { env })
  const made = async (line: string, env: Readonly<Record<string, string>> = {}) => {
    const { code, stdout, stderr } = await run(line, env)
    t.equal(code, 0, `${line}: ${stderr}`)
    return stdout.trim()
  }
  const tunnelWith = async (token: string) => run('tunnel amber', { LANDFALL_TOKEN: token })
  return { edge, home, run, made, tunnelWith }
}

function environmentOf({ httpsPort, adminToken, caFile }: TestEdge, home: string) {
  return {
    HOME: home,
    LANDFALL_API: `https://admin.localhost:${httpsPort}`,
    LANDFALL_TOKEN: adminToken,
    LANDFALL_CA_FILE: caFile,
  }
}

t.test('tokens of the API with share or admin open it, others do not', async (t) => {
  const { edge, made, tunnelWith } = await sceneFor(t)
  t.match(await tunnelWith(edge.adminToken), { code: 0, stdout: 'hello' }, 'the bootstrap token')
  for (const verbs of ['read,share', 'read,admin']) {
    const token = await made(`token new --scope default:${verbs}`)
    await until(async () => (await tunnelWith(token)).stdout === 'hello', `${verbs} opens the port`)
  }
  const reader = await made('token new --scope default:read,write')
  const refused = { code: 3, stdout: '', stderr: /landfall token new --scope default:read,share/ }
  t.match(await tunnelWith(reader), refused)
})

t.test('the SSH key of the owner opens it too, until it is removed', { skip }, async (t) => {
  const { home, run, made } = await sceneFor(t)
  const file = writeKey(join(home, '.ssh/id_ed25519'), ED25519)
  const key = await made(`key add ann ${file}.pub`)
  await made('pool set default --owner ann')
  const jwt = await made('token sign admin.localhost')
  const env = { LANDFALL_TOKEN: jwt }
  await until(async () => (await run('whoami', env)).code === 0, 'the key is known')
  t.match(await run('whoami', env), { stdout: /user +ann\n/ })
  await until(async () => (await run('tunnel amber', env)).stdout === 'hello', 'the owner is known')
  await made(`key delete ${key}`)
  await until(async () => (await run('whoami', env)).code === 3, 'the key is gone')
})

t.test(
  'a guest with the role root gets to SSH with a key of their own, a viewer does not',
  { skip },
  async (t) => {
    const { home, run, made } = await sceneFor(t)
    const file = writeKey(join(home, '.ssh/id_ed25519'), ED25519)
    await made(`key add bob@example.test ${file}.pub`)
    await made('grant add amber bob@example.test --role viewer')
    const env = { LANDFALL_TOKEN: await made('token sign admin.localhost') }
    await until(async () => (await run('whoami', env)).code === 0, 'the key is known')
    t.match(await run('tunnel amber', env), { code: 3, stdout: '', stderr: /auth_role|auth_forbidden/ })
    const [viewer = ''] = (await made('grant list amber')).split('\n')[1]?.split(' ') ?? []
    await made(`grant delete amber ${viewer}`)
    await made('grant add amber bob@example.test --role root')
    await until(async () => (await run('tunnel amber', env)).stdout === 'hello', 'the grant is known')
    t.match(await run('vm delete amber', env), { code: 4, stdout: '' }, 'reading is all')
  },
)

t.test('a token for two ports counts at the host names of both, and of no third', { skip }, async (t) => {
  const { edge, made } = await sceneFor(t)
  const token = await made('vm-token make amber --expires 1h --port 22 --port 8000')
  const statusAt = async (hostname: string) => {
    const socket = await edge.dial(hostname)
    const request = `GET / HTTP/1.1\r\nHost: ${hostname}\r\nX-Landfall-Authorization: Bearer ${token}\r\n\r\n`
    return (await exchange(socket, request, isWhole)).status
  }
  // Behind both is a server that speaks no HTTP: 502 is an answer of somebody who was let in.
  await until(async () => (await statusAt('8000--amber.localhost')) === 502, 'the first port')
  t.equal(await statusAt('22--amber.localhost'), 502)
  t.equal(await statusAt('amber.localhost'), 502, "the VM's own name leads to 8000")
  await made('port set amber 9000 --private')
  await until(
    async () => (await statusAt('9000--amber.localhost')) === 401,
    "a third port is not the token's",
  )
})

t.test('what shares a VM is made, listed and ended', async (t) => {
  const { edge, made, run } = await sceneFor(t)
  const link = new URL(await made('link make amber --once --label demo'))
  t.equal(link.origin, `https://amber.localhost:${edge.httpsPort}`)
  t.equal(link.pathname, '/.landfall/share')
  t.match(decodeJwt(link.searchParams.get('link') ?? ''), {
    aud: 'amber.localhost',
    vm: 'amber',
    login: true,
  })
  const token = await made(
    'vm-token make amber --expires 2d --port 8000 --method get --path /api --ctx job --label ci',
  )
  const { jti = '', ...claims } = decodeJwt(token)
  t.match(claims, { aud: 'amber.localhost', methods: ['GET'], path: '/api', ctx: 'job' })
  t.match(await run('link list amber'), { code: 0, stdout: /demo +default +yes +yes +0 / })
  t.match(await run(`vm-token show amber ${jti}`), { code: 0, stdout: /label +ci\n.*methods +GET\n/s })
  const grants = await made('grant list amber')
  t.match(grants, /vm-token .* ci\n?/)
  t.match(grants, / link .* demo\n?/)
  await made(`vm-token delete amber ${jti}`)
  const id = (await made('link list amber')).split('\n')[1]?.split(' ')[0] ?? ''
  await made(`link delete amber ${id}`)
  t.match(await made('grant list amber'), 'closed link')
  await made(`link delete amber ${id} --end-access`)
  t.equal(await made('link list amber --json'), '{"links":[]}')
  t.match(await run('session list'), { code: 0, stdout: '', stderr: 'Nobody is logged in.\n' })
  t.equal((await run('session end nobody')).code, 4)
  t.equal((await run('user end https://id.example.test/ann')).code, 0)
  await made('port set amber 8000 --private --authorization app')
  t.match(await made('port list amber'), /8000 +private +yes +app /)
  await made('port set amber 8000 --private --authorization edge')
  t.match(await made('port list amber'), /8000 +private +yes +edge /)
})
