/** SSH into a VM through the edge's HTTPS port: the system's own ssh, scp and sftp, and a real sshd behind the edge. */

import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { edgeFor, type TestEdge } from '../helpers/edge.ts'
import { type FakeHost, fakeHostFor, gaugeOf } from '../helpers/fake-host.ts'
import { folderFor } from '../helpers/folder.ts'
import { childrenOf } from '../helpers/landfall.ts'
import { missingSsh, type Sshd, sshdFor } from '../helpers/sshd.ts'
import { until } from '../helpers/until.ts'

const MAIN = fileURLToPath(new URL('../../main.ts', import.meta.url))
const skip = missingSsh()
const BYTES = 5 * 1_048_576

interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

interface Scene {
  readonly edge: TestEdge
  readonly sshd: Sshd
  readonly host: FakeHost
  readonly folder: string
  /** The settings of the command line. */
  readonly env: NodeJS.ProcessEnv
  run(program: string, args: readonly string[], input?: string): Promise<Ended>
  start(program: string, args: readonly string[], options?: SpawnOptions): ChildProcess
}

const LANDFALL = [MAIN]

async function sceneFor(t: Test, { isAwake = true } = {}): Promise<Scene> {
  const [edge, sshd] = [await edgeFor(t), await sshdFor(t)]
  const { hostKey } = sshd
  const host = await fakeHostFor(t, edge, {
    vm: 'amber',
    ports: { 22: sshd.port, 8000: 1 },
    onCall: (host) => host.report('running', { hostKey }),
  })
  await host.report(isAwake ? 'running' : 'asleep', { hostKey })
  const folder = folderFor(t)
  const env = {
    PATH: process.env.PATH,
    HOME: folder,
    LANDFALL_API: `https://admin.localhost:${edge.httpsPort}`,
    LANDFALL_TOKEN: edge.adminToken,
    LANDFALL_CA_FILE: edge.caFile,
  }
  const start = (program: string, args: readonly string[], options: SpawnOptions = {}) => {
    const child = spawn(program, args, { stdio: 'pipe', ...options, env })
    t.teardown(() => void child.kill('SIGKILL'))
    return child
  }
  const run = (program: string, args: readonly string[], input = '') => ended(start(program, args), input)
  return { edge, sshd, host, folder, env, run, start }
}

async function ended(child: ChildProcess, input = ''): Promise<Ended> {
  const texts = { stdout: '', stderr: '' }
  for (const name of ['stdout', 'stderr'] as const) {
    child[name]?.setEncoding('utf8').on('data', (text: string) => {
      texts[name] += text
    })
  }
  child.stdin?.on('error', () => {})
  child.stdin?.end(input)
  const [code, signal] = await once(child, 'close')
  return { code, signal, ...texts }
}

/** For ssh, scp and sftp: the tunnel, the key, and no questions. */
function optionsOf({ sshd, folder }: Scene): string[] {
  const known = join(folder, 'known')
  writeFileSync(known, `amber.localhost ${sshd.hostKey}\n`)
  const values = {
    ProxyCommand: `${process.execPath} ${MAIN} tunnel amber`,
    IdentityFile: sshd.identity,
    IdentitiesOnly: 'yes',
    UserKnownHostsFile: known,
    StrictHostKeyChecking: 'yes',
    BatchMode: 'yes',
  }
  return ['-F', 'none', ...Object.entries(values).flatMap(([name, value]) => ['-o', `${name}=${value}`])]
}

function sshOf({ sshd }: Scene, ...words: string[]): string[] {
  return [...LANDFALL, 'ssh', '--identity', sshd.identity, `${sshd.user}@amber`, ...words]
}

t.test(
  'ssh with ProxyCommand runs a command, with its output, its input and its exit code',
  { skip },
  async (t) => {
    const scene = await sceneFor(t)
    const args = [...optionsOf(scene), `${scene.sshd.user}@amber.localhost`]
    const result = await scene.run('ssh', [...args, 'tr a-z A-Z; echo done >&2; exit 7'], 'hello')
    t.match(result, { code: 7, stdout: 'HELLO', stderr: /done/ })
    await until(
      () => scene.edge.accessLog.some((line) => line.status === 200 && Number(line.bytes_in) > 1_000),
      'the line of the tunnel',
    )
    const line = scene.edge.accessLog.find(
      ({ request }) => (request as { method: string }).method === 'CONNECT',
    )
    t.match(line, {
      vm_id: 'amber',
      status: 200,
      request: { host: 'amber.localhost', uri: 'amber.localhost:22' },
    })
    t.ok(Number(line?.bytes_out) > 1_000)
    t.equal(await gaugeOf(scene.edge, 'edge_wake_holds'), 0)
  },
)

t.test('scp and sftp carry a file of some megabytes both ways unharmed', { skip }, async (t) => {
  const scene = await sceneFor(t)
  const { folder, sshd } = scene
  const [from, there, back] = ['from', 'there', 'back'].map((name) => join(folder, name))
  writeFileSync(from ?? '', randomBytes(BYTES))
  const up = await scene.run('scp', [
    ...optionsOf(scene),
    from ?? '',
    `${sshd.user}@amber.localhost:${there}`,
  ])
  t.equal(up.code, 0, up.stderr)
  const batch = `get ${there} ${back}\n`
  const down = await scene.run(
    'sftp',
    [...optionsOf(scene), '-b', '-', `${sshd.user}@amber.localhost`],
    batch,
  )
  t.equal(down.code, 0, down.stderr)
  t.equal(hashOf(back), hashOf(from))
})

t.test('landfall ssh knows the host key from the table and asks nothing', { skip }, async (t) => {
  const scene = await sceneFor(t)
  const result = await scene.run(process.execPath, sshOf(scene, 'echo', '$((6*7))', '--help', '-la'))
  t.match(result, { code: 0, stdout: '42 --help -la\n', stderr: '' })
})

t.test('landfall ssh ends with the exit code of the command', { skip }, async (t) => {
  const scene = await sceneFor(t)
  t.match(await scene.run(process.execPath, sshOf(scene, 'exit 42')), { code: 42, stderr: '' })
})

t.test('landfall ssh refuses a VM with another key than its host reported', { skip }, async (t) => {
  const scene = await sceneFor(t)
  const other = await sshdFor(t)
  await scene.host.report('running', { hostKey: other.hostKey })
  const result = await scene.run(process.execPath, sshOf(scene, 'echo', 'reached'))
  t.equal(result.code, 255)
  t.match(result.stderr, /Host key verification failed/)
  t.equal(result.stdout, '')
})

t.test(
  'a signal to landfall ssh goes on to ssh, which ends with the tunnel and its own exit code',
  { skip },
  async (t) => {
    const scene = await sceneFor(t)
    const child = scene.start(process.execPath, sshOf(scene, 'echo up; cat'))
    const gone = once(child, 'close')
    let said = ''
    child.stdout?.on('data', (text: string) => {
      said += text
    })
    await until(() => said.includes('up'), 'the command runs')
    const [ssh = 0] = childrenOf(child.pid ?? 0)
    child.kill('SIGTERM')
    t.same((await gone)[0], 255)
    t.throws(() => process.kill(ssh, 0), { code: 'ESRCH' })
    await until(async () => (await openTunnels(scene.edge)) === 0, 'the tunnel is closed')
  },
)

t.test('SSH wakes a VM that is asleep', { skip }, async (t) => {
  const scene = await sceneFor(t, { isAwake: false })
  const result = await scene.run(process.execPath, sshOf(scene, 'echo awake'))
  t.match(result, { code: 0, stdout: 'awake\n' })
  t.equal(scene.host.calls.length, 1)
})

t.test('a port that nothing listens on is told, and so is one that no tunnel leads to', async (t) => {
  const edge = await edgeFor(t)
  const folder = folderFor(t)
  const env = {
    PATH: process.env.PATH,
    HOME: folder,
    LANDFALL_API: `https://admin.localhost:${edge.httpsPort}`,
    LANDFALL_TOKEN: edge.adminToken,
    LANDFALL_CA_FILE: edge.caFile,
  }
  const tunnel = (...args: string[]) => ended(spawn(process.execPath, [MAIN, 'tunnel', ...args], { env }))
  await fakeHostFor(t, edge, { vm: 'birch', ports: { 8000: 1 } })
  const unknown = await tunnel('birch', '22')
  t.match(unknown, { code: 6, stdout: '', stderr: /route_port_closed/ })
  const web = await tunnel('birch', '8000')
  t.match(web, { code: 3, stdout: '', stderr: /route_port_web/ })
  t.match(await tunnel('stranger'), { code: 4, stdout: '' })
})

t.test('landfall tunnel passes on the end of either side', async (t) => {
  const edge = await edgeFor(t)
  let heard = ''
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('data', (chunk) => {
      heard += chunk
    })
    socket.on('end', () => socket.end(`${heard.length} bytes`))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const host = await fakeHostFor(t, edge, {
    vm: 'amber',
    ports: { 22: (server.address() as AddressInfo).port },
  })
  await host.report('running')
  const env = {
    PATH: process.env.PATH,
    HOME: folderFor(t),
    LANDFALL_API: `https://admin.localhost:${edge.httpsPort}`,
    LANDFALL_TOKEN: edge.adminToken,
    LANDFALL_CA_FILE: edge.caFile,
  }
  const result = await ended(spawn(process.execPath, [MAIN, 'tunnel', 'amber'], { env }), 'x'.repeat(300_000))
  t.match(result, { code: 0, stdout: '300000 bytes', stderr: '' })
})

function hashOf(file: string | undefined): string {
  return createHash('sha256')
    .update(readFileSync(file ?? ''))
    .digest('hex')
}

async function openTunnels(edge: TestEdge): Promise<number> {
  const text = await (await fetch(`http://127.0.0.1:${edge.opsPort}/metrics`)).text()
  return Number(/^edge_tunnels_open\{kind="connect"\} (\d+)/m.exec(text)?.[1])
}
