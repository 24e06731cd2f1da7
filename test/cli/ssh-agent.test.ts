/** Agents that do not do as they should: none makes a token that is wrong, and none is waited for without an end. */

import { generateKeyPairSync, sign } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { signWithAgent } from '../../cli/ssh-agent.ts'
import { type SshPublicKey, toSshPublicKey } from '../../cli/ssh-public-key.ts'
import { wireString, wireUint32 } from '../../cli/ssh-wire.ts'
import { folderFor } from '../helpers/folder.ts'
import { cliFor } from './cli-process.ts'
import { type KeyKind, KINDS, missingKeygen, writeKey } from './ssh-keys.ts'

const DATA = Buffer.from('what is to be signed')
const { privateKey } = generateKeyPairSync('ed25519')
const KEY = toSshPublicKey(privateKey)
const SIGNATURE = sign(undefined, DATA, privateKey)

type Behaviour = (socket: Socket, request: Buffer) => void

const message = (type: number, ...parts: Buffer[]) =>
  wireString(Buffer.concat([Buffer.from([type]), ...parts]))
const identities = (...keys: SshPublicKey[]) =>
  message(
    12,
    wireUint32(keys.length),
    ...keys.flatMap(({ blob }) => [wireString(blob), wireString('comment')]),
  )
const signature = (type: string, text: Buffer) =>
  message(14, wireString(Buffer.concat([wireString(type), wireString(text)])))
const GOOD = signature('ssh-ed25519', SIGNATURE)

/** Answers the first request with `first`, the second with `second`. */
async function agentFor(t: Test, ...answers: readonly (Buffer | Behaviour)[]): Promise<string> {
  const socketPath = join(folderFor(t), 'agent')
  const sockets: Socket[] = []
  const server = createServer((socket) => {
    const left = [...answers]
    sockets.push(socket)
    socket.on('error', () => {})
    socket.on('data', (request: Buffer) => {
      const answer = left.shift()
      if (typeof answer === 'function') answer(socket, request)
      else if (answer) socket.write(answer)
    })
  }).listen(socketPath)
  await once(server, 'listening')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return socketPath
}

async function outcomeOf(socketPath: string, { key = KEY, timeoutMs = 5_000 } = {}): Promise<Buffer> {
  const { signal } = new AbortController()
  return signWithAgent(key, DATA, { socketPath, signal, timeoutMs })
}

t.test('asks for the keys, then for the signature, in the form of the draft', async (t) => {
  const requests: Buffer[] = []
  const answer =
    (text: Buffer): Behaviour =>
    (socket, request) => {
      requests.push(request)
      // In pieces, as a socket may deliver it.
      for (const byte of text) socket.write(Buffer.from([byte]))
    }
  const socketPath = await agentFor(t, answer(identities(KEY)), answer(GOOD))
  t.same(await outcomeOf(socketPath), SIGNATURE)
  const asked = Buffer.concat([Buffer.from([13]), wireString(KEY.blob), wireString(DATA), wireUint32(0)])
  t.same(requests, [wireString(Buffer.from([11])), wireString(asked)])
})

t.test('numbers of an ECDSA signature come out in full width', async (t) => {
  const { privateKey: own } = generateKeyPairSync('ec', { namedCurve: 'P-521' })
  const key = toSshPublicKey(own)
  const halves = (...numbers: Buffer[]) =>
    signature('ecdsa-sha2-nistp521', Buffer.concat(numbers.map((number) => wireString(number))))
  const whole = await agentFor(t, identities(key), halves(Buffer.from([1, 2]), Buffer.from([0, 0x80])))
  const expected = Buffer.alloc(132)
  expected.set([1, 2], 64)
  expected.set([0x80], 131)
  t.same(await outcomeOf(whole, { key }), expected)
  for (const numbers of [
    [Buffer.alloc(68, 1), Buffer.from([1])],
    [Buffer.from([0, 1]), Buffer.from([1])],
    [Buffer.from([0x80]), Buffer.from([1])],
    [Buffer.from([1])],
    [Buffer.from([1]), Buffer.from([1]), Buffer.from([1])],
  ])
    await t.rejects(outcomeOf(await agentFor(t, identities(key), halves(...numbers)), { key }), {
      code: 'cli_agent_failed',
    })
})

t.test('whatever else it answers is a failure that says why', async (t) => {
  const { privateKey: other } = generateKeyPairSync('ed25519')
  const cases: [string, RegExp, (Buffer | Behaviour)[]][] = [
    ['no such key', /does not hold the key SHA256:/, [identities(toSshPublicKey(other)), GOOD]],
    ['no key at all', /does not hold the key SHA256:/, [identities(), GOOD]],
    ['a refusal', /it refused/, [identities(KEY), message(5)]],
    ['a refusal at once', /it refused/, [message(5)]],
    ['an empty message', /no sound length/, [wireUint32(0)]],
    ['a message without an end', /no sound length/, [wireUint32(0xffffffff)]],
    ['a list that ends too early', /ends too early/, [message(12, wireUint32(9))]],
    ['a hang-up', /ended the connection/, [(socket) => socket.end()]],
    ['half a message', /ended the connection/, [(socket) => socket.end(Buffer.from([0, 0, 0, 9, 12]))]],
    ['half a signature', /not whole/, [identities(KEY), signature('ssh-ed25519', SIGNATURE.subarray(1))]],
    ['another type', /of another type/, [identities(KEY), signature('ssh-rsa', SIGNATURE)]],
    ['bytes too many', /bytes too many/, [identities(KEY), message(14, GOOD.subarray(5), Buffer.from([0]))]],
  ]
  for (const [name, message, answers] of cases)
    await t.rejects(
      outcomeOf(await agentFor(t, ...answers)),
      { code: 'cli_agent_failed', exitCode: 6, message },
      name,
    )
  await t.rejects(outcomeOf(join(folderFor(t), 'none')), { code: 'cli_agent_failed', message: /ENOENT/ })
})

t.test('one that is silent is given up, and so is one at Ctrl-C', async (t) => {
  const socketPath = await agentFor(t)
  await t.rejects(outcomeOf(socketPath, { timeoutMs: 50 }), { message: /it is silent/ })
  const interrupt = new AbortController()
  const waiting = signWithAgent(KEY, DATA, { socketPath, signal: interrupt.signal })
  interrupt.abort()
  await t.rejects(waiting, { name: 'Interrupted' })
})

t.test('a signature of another key never becomes a token', { skip: missingKeygen() }, async (t) => {
  const folder = folderFor(t)
  const file = writeKey(join(folder, 'id'), KINDS[0] as KeyKind)
  const listed: Behaviour = (socket) => {
    const blob = Buffer.from(readFileSync(`${file}.pub`, 'utf8').split(' ')[1] ?? '', 'base64')
    socket.write(message(12, wireUint32(1), wireString(blob), wireString('')))
  }
  const cli = cliFor(t, { SSH_AUTH_SOCK: await agentFor(t, listed, GOOD) })
  const { code, stdout, stderr } = await cli(['token', 'sign', 'web.example.test', '--key', `${file}.pub`])
  t.equal(code, 6)
  t.equal(stdout, '')
  t.match(stderr, /its signature is not one of this key/)
})
