/** The channel to a guest's agent, with guests that say what they like. */

import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import { Agent } from '../../../sidecar/hypervisor/agent.ts'
import { parseAgentWord } from '../../../sidecar/hypervisor/agent-words.ts'
import { formatRefresh } from '../../../sidecar/hypervisor/refresh.ts'
import { until } from '../../helpers/until.ts'

/** The host's end, and the guest's. */
async function channelFor(t: Test): Promise<{ readonly agent: Agent; readonly guest: Socket }> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const port = typeof address === 'object' && address ? address.port : 0
  const host = connect(port, '127.0.0.1')
  const [guest] = (await once(server, 'connection')) as [Socket]
  guest.setEncoding('utf8').on('error', () => undefined)
  const agent = new Agent(host)
  t.teardown(() => {
    agent.close()
    guest.destroy()
    server.close()
  })
  return { agent, guest }
}

t.test('words are taken as they are meant, and nothing else is', async (t) => {
  t.same(parseAgentWord('ports 8000 22 22'), { kind: 'ports', ports: [22, 8000] })
  t.same(parseAgentWord('ports'), { kind: 'ports', ports: [] })
  t.same(parseAgentWord('net 2 17'), { kind: 'net', connections: 2, accepted: 17 })
  t.same(parseAgentWord('failed 3 no such thing'), { kind: 'failed', id: '3', text: 'no such thing' })
  for (const line of [
    'ports 0',
    'ports 65536',
    'ports -1',
    'ports 1e3',
    'ports 22 x',
    'net 1',
    'net -1 2',
    'net 1 99999999999999999999',
    'hello 2',
    'done',
    'failed',
    '',
    'constructor',
    `ports ${'1 '.repeat(5_000)}`,
  ]) {
    t.equal(parseAgentWord(line), undefined, line.slice(0, 40))
  }
  const many = Array.from({ length: 1_400 }, (_, index) => index + 1).join(' ')
  const word = parseAgentWord(`ports ${many}`)
  t.equal(word?.kind === 'ports' && word.ports.length, 1_000, 'more ports than that are not looked at')
})

t.test('a guest that talks without end is read no faster than it may', async (t) => {
  const { agent, guest } = await channelFor(t)
  const flood = 'ports 1 2 3\nports 4 5 6\n'.repeat(10_000)
  let changes = 0
  agent.onPorts(() => {
    changes += 1
  })
  for (let round = 0; round < 40; round += 1) guest.write(flood)
  await until(() => changes > 10, 'some is read')
  await new Promise((resolve) => setTimeout(resolve, 500))
  t.ok(changes < 40, `${changes} changes are few`)
  t.ok(guest.writableLength > 1_000_000, 'the guest has to wait')
})

t.test('a line without an end takes no memory, and what follows it is understood', async (t) => {
  const { agent, guest } = await channelFor(t)
  guest.write('ports 1 '.padEnd(500_000, '7'))
  guest.write('\nhello 1\nports 80\n')
  await until(() => agent.ports !== undefined, 'the next line is read')
  t.same(agent.ports, [80])
  t.equal(agent.saidHello, true)
})

t.test('requests are answered by their id; others, failures and silence are told apart', async (t) => {
  const { agent, guest } = await channelFor(t)
  const asked: string[] = []
  guest.on('data', (text: string) => asked.push(text))
  const synced = agent.request('sync')
  await until(() => asked.length === 1, 'it is asked')
  guest.write('done 99\ndone 1\n')
  await synced
  t.same(asked, ['sync 1\n'])
  const grown = agent.request('grow')
  guest.write('failed 2 no room\n')
  await t.rejects(grown, { code: 'vm_agent_failed', message: 'grow: no room' })
  await t.rejects(agent.request('keys', undefined, 20), {
    code: 'vm_agent_failed',
    message: 'keys: no answer',
  })
  t.equal(await agent.countConnections(20), undefined)
  const counted = agent.countConnections()
  guest.write('net 1 5\n')
  t.match(await counted, { connections: 1, accepted: 5 })
})

t.test('the refresh has the time to the nanosecond, and a seed of its own each time', async (t) => {
  const bytes = Buffer.from(formatRefresh(1_795_382_486_123), 'base64')
  t.equal(bytes.length, 56)
  t.equal(bytes.readBigInt64LE(0), 1_795_382_486n)
  t.equal(bytes.readBigInt64LE(8), 123_000_000n)
  t.equal(bytes.readInt32LE(16), 256)
  t.equal(bytes.readInt32LE(20), 32)
  t.not(formatRefresh(), formatRefresh())
})
