/**
 * The attacker puts a request behind a CONNECT: in the same read, as its body, behind a refused one, behind one that is
 * still waiting for its VM. If the edge answered it as a request, its author would not be who the log says, or a client
 * behind a shared proxy would get an answer that is not his. Behind a CONNECT there are only bytes for the port, and
 * behind a refused one nothing at all.
 */

import t, { type Test } from 'tap'
import { codeOf, countAnswers, isOver, requestLinesIn } from '../helpers/attacked-edge.ts'
import { edgeFor } from '../helpers/edge.ts'
import { fakeHostFor } from '../helpers/fake-host.ts'
import { rawOriginFor } from '../helpers/origin.ts'
import { exchange } from '../helpers/raw-client.ts'
import { until } from '../helpers/until.ts'

const VM = 'amber.localhost'
const SMUGGLED = `GET /smuggled HTTP/1.1\r\nHost: ${VM}\r\n\r\n`
const CONNECT = `CONNECT ${VM}:22 HTTP/1.1\r\nHost: ${VM}:22\r\n`

interface SceneOptions {
  readonly visibility?: 'public' | 'private'
  /** The VM wakes only then. */
  readonly wake?: Promise<void>
}

/** A VM whose web port answers each request, and whose port 22 answers nothing. */
async function sceneFor(t: Test, { visibility = 'public', wake }: SceneOptions = {}) {
  const edge = await edgeFor(t)
  const web = await rawOriginFor(t, (socket) =>
    socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'),
  )
  const ssh = await rawOriginFor(t, () => {})
  const host = await fakeHostFor(t, edge, {
    vm: 'amber',
    ports: { 22: ssh.port, 80: web.port },
    visibility,
    onCall: async (host) => {
      await wake
      await host.report('running')
    },
  })
  await host.report('running')
  return { edge, web, ssh, host }
}

t.test('what stands behind a refused CONNECT is never read as a request', async (t) => {
  const { edge, web, ssh } = await sceneFor(t)
  const refused: [string, string, number][] = [
    ['a port that is reached by HTTPS', CONNECT.replaceAll(':22', ':80'), 403],
    ['an unknown host', CONNECT.replaceAll(VM, 'stranger.localhost'), 421],
    ['no port', CONNECT.replaceAll(':22', ''), 400],
    ['another Host', CONNECT.replace(`Host: ${VM}:22`, 'Host: bare.localhost:22'), 400],
    ['a body with a length', `${CONNECT}Content-Length: ${SMUGGLED.length}\r\n`, 400],
    ['a length of 0', `${CONNECT}Content-Length: 0\r\n`, 400],
    ['chunks', `${CONNECT}Transfer-Encoding: chunked\r\n`, 400],
    ['both', `${CONNECT}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n`, 400],
    ['an unknown expectation', `${CONNECT}Expect: the-worst\r\n`, 417],
    ['too many fields', `${CONNECT}${'X: y\r\n'.repeat(120)}`, 431],
  ]
  for (const [what, head, status] of refused) {
    const socket = await edge.dial(VM)
    const answer = await exchange(socket, `${head}\r\n${SMUGGLED}${SMUGGLED}`)
    t.equal(answer.status, status, `${what}: ${codeOf(answer)}`)
    t.equal(countAnswers(answer.text), 1, 'one answer')
    t.ok(await isOver(socket))
  }
  t.same(requestLinesIn(web.received.join('')), [])
  t.equal(ssh.sockets.length, 0)
})

t.test('behind a CONNECT to a private port there is nothing either', async (t) => {
  const { edge, web, ssh } = await sceneFor(t, { visibility: 'private' })
  const answer = await exchange(await edge.dial(VM), `${CONNECT}\r\n${SMUGGLED}`)
  t.equal(answer.status, 401)
  t.equal(countAnswers(answer.text), 1)
  t.equal(web.sockets.length + ssh.sockets.length, 0)
})

t.test('on the plain port a refused CONNECT ends the connection, whatever comes behind it', async (t) => {
  const { edge, web } = await sceneFor(t)
  const socket = await edge.dialPlain()
  const answer = await exchange(socket, `${CONNECT}\r\n${SMUGGLED}`)
  t.equal(answer.status, 405)
  t.equal(countAnswers(answer.text), 1)
  t.ok(await isOver(socket))
  t.equal(web.sockets.length, 0)
})

t.test('a CONNECT behind a request that is not answered yet opens nothing', async (t) => {
  const { edge, ssh } = await sceneFor(t)
  const socket = await edge.dial(VM)
  const answer = await exchange(socket, `${SMUGGLED}${CONNECT}\r\nSSH-2.0-x\r\n`)
  t.ok(countAnswers(answer.text) <= 1)
  t.equal(ssh.sockets.length, 0)
})

t.test('what stands behind a CONNECT that is taken goes to its port, byte for byte', async (t) => {
  const { edge, web, ssh } = await sceneFor(t)
  const socket = await edge.dial(VM)
  socket.write(
    `${CONNECT}Upgrade: websocket\r\nConnection: Upgrade\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n${SMUGGLED}`,
  )
  await until(() => ssh.received[0] === SMUGGLED, 'the bytes reach port 22')
  socket.write('more')
  await until(() => ssh.received[0] === `${SMUGGLED}more`, 'and all that follows')
  t.equal(web.sockets.length, 0)
})

t.test('while the VM wakes, what stands behind a CONNECT waits, and is bounded', async (t) => {
  const told = Promise.withResolvers<void>()
  const { edge, web, ssh, host } = await sceneFor(t, { wake: told.promise })
  await host.report('asleep')
  const [small, big] = [await edge.dial(VM), await edge.dial(VM)]
  small.write(`${CONNECT}\r\n${SMUGGLED}`)
  big.write(`${CONNECT}\r\n`)
  big.write(Buffer.alloc(1_048_576, 'x'))
  t.ok(await isOver(big), 'who sends too much before the answer is cut off')
  told.resolve()
  await until(() => ssh.received.includes(SMUGGLED), 'the bytes reach port 22 once it runs')
  t.equal(ssh.sockets.length, 1)
  t.equal(web.sockets.length, 0)
})
