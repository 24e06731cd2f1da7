/** `landfall token sign`: tokens that jose verifies with the public halves of keys that ssh-keygen made. */

import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { decodeProtectedHeader, importJWK, jwtVerify } from 'jose'
import t, { type Test } from 'tap'
import { folderFor } from '../helpers/folder.ts'
import { cliFor } from './cli-process.ts'
import {
  agentFor,
  fingerprintOf,
  jwkOf,
  type KeyKind,
  KINDS,
  lockKey,
  missingKeygen,
  writeKey,
} from './ssh-keys.ts'

const skip = missingKeygen()
const HOST = 'web.example.test'
const [ED25519, P256] = KINDS as readonly [KeyKind, KeyKind]
const THUMBPRINT = 'x'.repeat(43)

async function verify(token: string, file: string, kind: KeyKind) {
  const key = await importJWK(jwkOf(file, kind), kind.alg)
  return jwtVerify(token.trim(), key, {
    algorithms: [kind.alg],
    audience: HOST,
    typ: 'landfall-self+jwt',
    requiredClaims: ['aud', 'iat', 'exp', 'jti'],
  })
}

function sceneFor(t: Test, env: Readonly<Record<string, string>> = {}) {
  const folder = folderFor(t)
  const cli = cliFor(t, env)
  return { folder, cli, sign: (...words: string[]) => cli(['token', 'sign', HOST, ...words]) }
}

t.test('every kind of key signs a token, in every form in which its file is written', { skip }, async (t) => {
  const { folder, sign } = sceneFor(t)
  for (const kind of KINDS) {
    const formats = kind.type === 'ed25519' ? [undefined] : ([undefined, 'PEM', 'PKCS8'] as const)
    for (const format of formats) {
      const name = [kind.type, kind.bits, format].join('-')
      const file = writeKey(join(folder, name), kind, format === undefined ? {} : { format })
      const { code, stdout, stderr } = await sign('--key', file)
      t.equal(code, 0, `${name}: ${stderr}`)
      const { payload, protectedHeader } = await verify(stdout, file, kind)
      const kid = fingerprintOf(file)
      t.same(protectedHeader, { alg: kind.alg, typ: 'landfall-self+jwt', kid }, name)
      t.same(Object.keys(payload).sort(), ['aud', 'exp', 'iat', 'jti'])
      t.equal(Number(payload.exp) - Number(payload.iat), 3_600)
      t.match(stderr, `for ${HOST} until ${new Date(Number(payload.exp) * 1_000).toISOString()}`)
      t.match(stdout, /^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+){2}\n$/)
    }
  }
})

t.test('the token says what it is narrowed to', { skip }, async (t) => {
  const { folder, sign } = sceneFor(t)
  const file = writeKey(join(folder, 'id'), ED25519)
  const limits = '--port 22 --port 80 --method get --path /api --ctx {"é":1} --expires 30d'.split(' ')
  const { stdout } = await sign('--key', file, ...limits, '--key-thumbprint', THUMBPRINT)
  const { payload } = await verify(stdout, file, ED25519)
  const { exp = 0, iat = 0, jti, ...rest } = payload
  t.same(rest, {
    aud: HOST,
    ports: [22, 80],
    methods: ['GET'],
    path: '/api',
    ctx: '{"é":1}',
    cnf: { jkt: THUMBPRINT },
  })
  t.ok(exp - iat <= 30 * 86_400 && exp - iat > 30 * 86_400 - 5)
  const again = await verify((await sign('--key', file)).stdout, file, ED25519)
  t.not(again.payload.jti, jti)
})

t.test('with --json it is one document', { skip }, async (t) => {
  const { folder, sign } = sceneFor(t)
  const file = writeKey(join(folder, 'id'), P256)
  const { stdout, stderr } = await sign('--key', file, '--json')
  const { token, id, ...rest } = JSON.parse(stdout)
  const { payload } = await verify(token, file, P256)
  t.equal(payload.jti, id)
  const expiresAt = new Date(Number(payload.exp) * 1_000).toISOString()
  t.same(rest, { expiresAt, host: HOST, fingerprint: fingerprintOf(file) })
  t.equal(stderr, '')
})

t.test('the host may be written as it comes', { skip }, async (t) => {
  const { folder, cli } = sceneFor(t)
  const file = writeKey(join(folder, 'id'), ED25519)
  const aims = [
    'WEB.Example.Test',
    'https://web.example.test',
    'https://web.example.test:8443/a?b#c',
    'web.example.test:3000',
    'web.example.test.',
  ]
  for (const host of aims) {
    const { stdout, stderr } = await cli(['token', 'sign', host, '--key', file])
    t.equal((await verify(stdout, file, ED25519)).payload.aud, HOST, stderr)
  }
  for (const host of [
    'web',
    '',
    '127.0.0.1',
    '[::1]',
    'a b.test',
    'user@web.example.test',
    'web.example.test/x',
    '*.x.test',
  ])
    t.equal((await cli(['token', 'sign', host, '--key', file])).code, 2, host)
})

t.test('the usual keys of ssh are taken, the first that there is', { skip }, async (t) => {
  const home = folderFor(t)
  const { sign } = sceneFor(t, { HOME: home })
  const none = await sign()
  t.match(none, { code: 2, stdout: '', stderr: /neither .*id_ed25519 nor .*id_ecdsa.*cli_key_unusable/s })
  mkdirSync(join(home, '.ssh'))
  const ecdsa = writeKey(join(home, '.ssh/id_ecdsa'), P256)
  await verify((await sign()).stdout, ecdsa, P256)
  const ed25519 = writeKey(join(home, '.ssh/id_ed25519'), ED25519)
  await verify((await sign()).stdout, ed25519, ED25519)
})

t.test(
  'a key that others can read is used, with a warning; a public one has nothing to hide',
  { skip },
  async (t) => {
    const agent = await agentFor(t)
    const { folder, sign } = sceneFor(t, { SSH_AUTH_SOCK: agent.socketPath })
    const file = writeKey(join(folder, 'id'), ED25519)
    agent.add(file)
    chmodSync(file, 0o640)
    const { code, stderr } = await sign('--key', file)
    t.equal(code, 0)
    t.match(stderr, `others can read the private key in ${file}; run: chmod 600 ${file}`)
    t.notMatch((await sign('--key', `${file}.pub`)).stderr, /others can read/)
  },
)

t.test('ssh-agent signs for keys that are encrypted and for public halves', { skip }, async (t) => {
  const agent = await agentFor(t)
  const { folder, sign } = sceneFor(t, { SSH_AUTH_SOCK: agent.socketPath })
  for (const kind of KINDS) {
    const file = writeKey(join(folder, `${kind.type}-${kind.bits}`), kind)
    agent.add(file)
    lockKey(file)
    for (const named of [file, `${file}.pub`]) {
      // Numbers of an ECDSA signature are shorter by a byte now and then.
      for (let round = 0; round < 8; round += 1) {
        const { code, stdout, stderr } = await sign('--key', named)
        t.equal(code, 0, stderr)
        const { protectedHeader } = await verify(stdout, file, kind)
        t.equal(protectedHeader.kid, fingerprintOf(file))
      }
    }
  }
  for (const format of ['PEM', 'PKCS8'] as const) {
    const file = writeKey(join(folder, format), P256, { format })
    agent.add(file)
    lockKey(file, { format })
    t.match(readFileSync(file, 'utf8'), /Proc-Type: 4,ENCRYPTED|BEGIN ENCRYPTED PRIVATE KEY/)
    await verify((await sign('--key', file)).stdout, file, P256)
  }
  const stranger = writeKey(join(folder, 'stranger'), ED25519, { passphrase: 'a passphrase' })
  t.match(await sign('--key', stranger), {
    code: 6,
    stdout: '',
    stderr: new RegExp(
      `does not hold the key ${fingerprintOf(stranger).replaceAll(/[+/]/g, '.')}.*ssh-add`,
      's',
    ),
  })
})

t.test('what cannot sign is refused, and says why', { skip }, async (t) => {
  const { folder, sign } = sceneFor(t)
  const rsa = writeKey(join(folder, 'rsa'), { type: 'rsa', bits: 2_048, alg: '' })
  const rsaPem = writeKey(join(folder, 'rsa-pem'), { type: 'rsa', bits: 2_048, alg: '' }, { format: 'PEM' })
  const id = writeKey(join(folder, 'id'), ED25519)
  const locked = writeKey(join(folder, 'locked'), ED25519, { passphrase: 'a passphrase' })
  const write = (name: string, text: string | Buffer) => {
    writeFileSync(join(folder, name), text, { mode: 0o600 })
    return join(folder, name)
  }
  const sk = `sk-ssh-ed25519@openssh.com ${Buffer.from('\0\0\0\x1ask-ssh-ed25519@openssh.com').toString('base64')} x`
  const cases: [string, number, RegExp][] = [
    [join(folder, 'missing'), 2, /There is no such file.*cli_file_unusable/s],
    [folder, 2, /EISDIR.*cli_file_unusable/s],
    [rsa, 2, /of the type ssh-rsa.*ed25519 or ECDSA.*cli_key_unusable/s],
    [`${rsa}.pub`, 2, /of the type ssh-rsa/],
    [rsaPem, 2, /of the type rsa/],
    [write('sk.pub', sk), 2, /of the type sk-ssh-ed25519@openssh\.com/],
    [write('text', 'hello\n'), 2, /holds no SSH key/],
    [write('empty', ''), 2, /holds no SSH key/],
    [write('long', 'x'.repeat(70_000)), 2, /too long for a key/],
    [
      write('public.pem', '-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n'),
      2,
      /holds a PUBLIC KEY/,
    ],
    [write('half.pem', '-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n'), 2, /not whole/],
    [
      write('sealed', '-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n'),
      2,
      /encrypted, and there is no .*sealed\.pub/,
    ],
    [write('cut', readFileSync(id).subarray(0, 200)), 2, /not whole/],
    [locked, 6, /SSH_AUTH_SOCK is not set/],
    [`${id}.pub`, 6, /SSH_AUTH_SOCK is not set/],
  ]
  for (const [file, code, stderr] of cases)
    t.match(await sign('--key', file), { code, stdout: '', stderr }, file)
  for (const options of ['--expires 31d', '--expires 2020-01-01', '--path a', '--port 0', '--ctx \u0007'])
    t.match(await sign('--key', id, ...options.split(' ')), { code: 2, stdout: '' }, options)
  const long = await sign('--key', id, '--ctx', '\u20ac'.repeat(1_024))
  t.match(long, { code: 2, stdout: '', stderr: /The token has \d+ characters, and 4096 are the most/ })
})

t.test('nothing of the network is asked', { skip }, async (t) => {
  const env = {
    LANDFALL_API: 'https://admin.nowhere.invalid',
    LANDFALL_TOKEN: 'lf_x',
    LANDFALL_CA_FILE: '/missing',
  }
  const { folder, sign } = sceneFor(t, env)
  const file = writeKey(join(folder, 'id'), ED25519)
  const { code, stdout } = await sign('--key', file)
  t.equal(code, 0)
  t.equal(decodeProtectedHeader(stdout.trim()).kid, fingerprintOf(file))
})
