/**
 * The same attacks on http-proxy-3 as it comes, in a process of its own: they work there. This keeps the other files
 * honest, which would also pass if an attack were none; when one of these fails, the engine has been mended.
 */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:net'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { exchange, isWhole } from '../helpers/raw-client.ts'
import { fieldOf, type ScriptedVm, scriptedVmFor, VM_OK } from '../helpers/scripted-vm.ts'
import { until } from '../helpers/until.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const STOCK = `
  import { Agent, createServer } from 'node:http'
  import { createProxyServer } from 'http-proxy-3'
  const target = 'http://127.0.0.1:' + process.argv[1]
  const proxy = createProxyServer({ target, agent: new Agent({ keepAlive: true }) })
  proxy.on('error', () => {})
  proxy.on('proxyReq', (request) => request.setHeader('x-user', 'guest'))
  const server = createServer((request, response) => proxy.web(request, response))
  server.listen(0, '127.0.0.1', () => console.log(server.address().port))
`

interface Stock {
  readonly vm: ScriptedVm
  readonly process: ChildProcess
  send(request: string): Promise<unknown>
}

async function stockFor(t: Test): Promise<Stock> {
  const vm = await scriptedVmFor(t, VM_OK)
  const child = spawn(process.execPath, ['--input-type=module', '-e', STOCK, String(vm.port)], {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  t.teardown(() => child.kill('SIGKILL'))
  const [line] = await once(child.stdout, 'data')
  const send = (request: string) => {
    const socket = connect(Number(String(line)), '127.0.0.1')
    socket.on('error', () => {})
    t.teardown(() => socket.destroy())
    return exchange(socket, request, isWhole)
  }
  return { vm, process: child, send }
}

t.test('row 1: the chunked body of DELETE becomes a second request', async (t) => {
  const { vm, send } = await stockFor(t)
  const smuggled = 'GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n'
  await send(
    `DELETE /first HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n` +
      `${smuggled.length.toString(16)}\r\n${smuggled}\r\n0\r\n\r\n`,
  )
  await until(() => vm.requests.length === 2, 'the second request')
  t.match(vm.requests[1]?.head, /^GET \/smuggled /)
})

t.test('row 2: Expect takes a forged field past the proxyReq event', async (t) => {
  const { vm, send } = await stockFor(t)
  const head = 'POST / HTTP/1.1\r\nHost: x\r\nX-User: admin\r\nContent-Length: 2\r\n'
  await send(`${head}\r\nhi`)
  void send(`${head}Expect: 100-continue\r\n\r\nhi`).catch(() => {})
  await until(() => vm.requests.length === 2, 'both requests')
  t.same(
    vm.requests.map((request) => fieldOf(request.head, 'x-user')),
    ['guest', 'admin'],
  )
})

t.test('row 6: an invalid target ends the process', async (t) => {
  const stock = await stockFor(t)
  void stock.send('GET http://[ HTTP/1.1\r\nHost: x\r\n\r\n').catch(() => {})
  await until(() => stock.process.exitCode !== null, 'the process is gone')
  t.not(stock.process.exitCode, 0)
})

t.test('row 9: the VM sees another path than the client sent', async (t) => {
  const { vm, send } = await stockFor(t)
  await send('GET /public/%2e%2e/admin HTTP/1.1\r\nHost: x\r\n\r\n')
  t.match(vm.requests[0]?.head, /^GET \/admin /)
})

t.test('row 10: hop-by-hop fields reach the VM', async (t) => {
  const { vm, send } = await stockFor(t)
  await send(
    'GET / HTTP/1.1\r\nHost: x\r\nConnection: X-Secret\r\nX-Secret: 1\r\nKeep-Alive: timeout=666\r\n' +
      'Proxy-Authorization: Basic c2VjcmV0\r\nTE: gzip\r\n\r\n',
  )
  const head = vm.requests[0]?.head ?? ''
  for (const name of ['x-secret', 'keep-alive', 'proxy-authorization', 'te']) t.ok(fieldOf(head, name), name)
})
