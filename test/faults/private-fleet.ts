/** A fleet with one VM whose ports are private, and those who get in: programs, people with cookies, users with SSH keys. */

import { generateKeyPairSync, hash, type KeyObject, randomUUID } from 'node:crypto'
import { SignJWT } from 'jose'
import type { Test } from 'tap'
import type { Signer } from '../../auth/signing/signing.ts'
import { startSigningKeys } from '../../auth/signing/signing-keys.ts'
import { createSealer } from '../../lib/seal.ts'
import { startAccessTable } from '../../routing/access/access-table.ts'
import { createSigningKeyBook } from '../../routing/access/signing-key-book.ts'
import { createLoginBook } from '../../routing/logins/login-book.ts'
import { loadSecretKeys } from '../../routing/secrets.ts'
import { putHostReport } from '../../routing/vms/host-reports.ts'
import { putTestPool } from '../helpers/host.ts'
import { QUIET_LOG } from '../helpers/quiet-log.ts'
import { until } from '../helpers/until.ts'
import { apiTokenFor } from './api-token.ts'
import { type Answer, ask } from './ask.ts'
import type { EdgeProcess } from './edge-process.ts'
import { type Fleet, type FleetOptions, fleetFor } from './fleet.ts'
import { DOMAIN } from './numbered-rows.ts'

export const VM_HOST = `app.${DOMAIN}`
export const WEB_PORT = 8_000
export const SSH_PORT = 22
const DAY_S = 86_400
const HOUR_S = 3_600

export type Api = (method: string, path: string, body?: unknown) => Promise<Record<string, unknown>>

export interface PrivateFleet extends Fleet {
  /** Asks the first edge. Rejects unless the answer is of the 2xx. */
  readonly api: Api
  /** Signs as the edges do. */
  readonly signer: Signer
  /** A login of this user: what the browser then sends to the VM, and the session's id. */
  readonly logIn: (user: string) => Promise<{ readonly cookie: string; readonly session: string }>
}

export interface PrivateFleetOptions extends FleetOptions {
  /** Ports on 127.0.0.1 behind the web port and port 22. */
  readonly web: number
  readonly ssh: number
}

/** Every edge knows the VM `app`, its owner being nobody, when it resolves. */
export async function privateFleetFor(t: Test, options: PrivateFleetOptions): Promise<PrivateFleet> {
  const fleet = await fleetFor(t, { rows: 1, ...options })
  const api = apiOf(fleet.edges[0], await apiTokenFor(fleet))
  await putTestPool(fleet.store, {
    name: 'default',
    cpuMillis: 10_000,
    memoryBytes: 2 ** 40,
    diskBytes: 2 ** 40,
  })
  const ports = { [WEB_PORT]: { visibility: 'private' }, [SSH_PORT]: { visibility: 'private' } }
  await api('PUT', '/v1/vms/app', { image: 'hello', port: WEB_PORT, ports })
  const at = (port: number) => ({ host: '127.0.0.1', port })
  const upstreams = { [WEB_PORT]: at(options.web), [SSH_PORT]: at(options.ssh) }
  await putHostReport(fleet.store, { name: 'app', host: 'local', state: 'running', ports: upstreams })
  const signer = await signerFor(t, fleet)
  for (const edge of fleet.edges)
    await until(async () => (await askVm(edge)).status === 401, 'the VM is known')
  return { ...fleet, api, signer, logIn: (user) => logIn(fleet, signer, user) }
}

/** A GET of the VM's page. */
export function askVm(edge: EdgeProcess, headers: Readonly<Record<string, string>> = {}): Promise<Answer> {
  return ask(edge, { hostname: VM_HOST, headers })
}

function apiOf(edge: EdgeProcess | undefined, token: string): Api {
  if (edge === undefined) throw new Error('there is no edge')
  return async (method, path, body) => {
    const { status, body: text } = await ask(edge, {
      hostname: `admin.${DOMAIN}`,
      method,
      path,
      headers: {
        authorization: `Bearer ${token}`,
        ...(body !== undefined && { 'content-type': 'application/json' }),
      },
      body: body === undefined ? undefined : JSON.stringify(body),
    })
    if (status < 200 || status > 299) throw new Error(`${method} ${path}: ${status} ${text}`)
    return text === '' ? {} : JSON.parse(text)
  }
}

async function signerFor(t: Test, { store, secretKeyFile }: Fleet): Promise<Signer> {
  const access = await startAccessTable({ store, log: QUIET_LOG })
  const sealer = createSealer(await loadSecretKeys({ file: secretKeyFile, folder: '', isFleet: true }))
  const signer = await startSigningKeys(
    { access, book: createSigningKeyBook(store), sealer, log: QUIET_LOG },
    { issuer: `https://auth.${DOMAIN}`, keyDays: 42, tokenDays: 400 },
  )
  t.teardown(async () => {
    await signer[Symbol.asyncDispose]()
    await access[Symbol.asyncDispose]()
  })
  return signer
}

/** What the login host and the VM host write down when somebody has logged in. */
async function logIn({ store }: Fleet, signer: Signer, user: string) {
  const session = randomUUID().replaceAll('-', '')
  const now = Date.now()
  await createLoginBook({ store, log: QUIET_LOG }).putSession({
    ...{ id: session, user, method: 'oidc' },
    createdAt: new Date(now).toISOString(),
    expiresAt: new Date(now + DAY_S * 1_000).toISOString(),
  })
  const expiresAt = Math.floor(now / 1_000) + HOUR_S
  const claims = { sid: session, vm: 'app', pool: 'default' }
  const cookie = await signer.sign({ kind: 'cookie', audience: VM_HOST, subject: user, expiresAt, claims })
  return { cookie: `__Host-landfall=${cookie}`, session }
}

export interface SshUser {
  readonly user: string
  /** Of the registered key, for the API. */
  readonly key: string
  /** Signed with that key for the VM. */
  readonly token: string
}

/** A user with a registered key, who may do nothing yet. */
export async function sshUserFor(api: Api, user: string): Promise<SshUser> {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  const blob = toBlob(publicKey)
  const registered = await api('POST', '/v1/keys', {
    user,
    publicKey: `ssh-ed25519 ${blob.toString('base64')}`,
  })
  return { user, key: String(registered.id), token: await selfSigned(privateKey, blob) }
}

function selfSigned(privateKey: KeyObject, blob: Buffer): Promise<string> {
  const kid = `SHA256:${hash('sha256', blob, 'base64').replace(/=+$/, '')}`
  return new SignJWT({ aud: VM_HOST, jti: randomUUID() })
    .setProtectedHeader({ alg: 'EdDSA', typ: 'landfall-self+jwt', kid })
    .setIssuedAt()
    .setExpirationTime('1h')
    .sign(privateKey)
}

/** RFC 8709 section 4: each part with its length before it. */
function toBlob(publicKey: KeyObject): Buffer {
  const point = Buffer.from(String(publicKey.export({ format: 'jwk' }).x), 'base64url')
  return Buffer.concat([Buffer.from('ssh-ed25519'), point].flatMap((part) => [lengthOf(part), part]))
}

function lengthOf(part: Buffer): Buffer {
  const length = Buffer.alloc(4)
  length.writeUInt32BE(part.length)
  return length
}
