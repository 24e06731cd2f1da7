/** A CA with an OCSP responder, both of openssl: what staples are tried against. */

import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Test } from 'tap'
import { findFreePort } from '../../helpers/free-port.ts'

const run = promisify(execFile)

export interface OcspScene {
  readonly url: string
  readonly port: number
  /** Leaf and CA in DER. */
  readonly chain: readonly [Buffer, Buffer]
  /** The leaf's. */
  pem(): Promise<{ readonly certPem: string; readonly keyPem: string }>
  revoke(): Promise<void>
  /** Signed by the delegate unless `signer` names another pair of files. */
  startResponder(signer?: string, ...options: readonly string[]): Promise<void>
  stopResponder(): Promise<void>
}

export async function ocspSceneFor(t: Test): Promise<OcspScene> {
  const folder = t.testdir({ 'index.txt': '' })
  const port = await findFreePort()
  const url = `http://127.0.0.1:${port}/`
  const openssl = (...args: readonly string[]) => run('openssl', args, { cwd: folder })
  await writeFile(join(folder, 'ca.cnf'), toConfig(url))
  await makeCa(openssl, 'ca')
  await issue(openssl, 'leaf', 'leaf')
  await issue(openssl, 'delegate', 'ocsp')
  await issue(openssl, 'plain', 'leaf')
  let responder: ChildProcess | undefined
  const stopResponder = async () => {
    const running = responder
    responder = undefined
    if (running === undefined) return
    const ended = once(running, 'exit')
    running.kill('SIGKILL')
    await ended
  }
  t.teardown(stopResponder)
  return {
    ...{ url, port, stopResponder },
    chain: [await readDer(folder, 'leaf.pem'), await readDer(folder, 'ca.pem')],
    pem: async () => ({
      certPem: await readFile(join(folder, 'leaf.pem'), 'utf8'),
      keyPem: await readFile(join(folder, 'leaf.key'), 'utf8'),
    }),
    revoke: async () => {
      await openssl('ca', '-config', 'ca.cnf', '-revoke', 'leaf.pem')
    },
    startResponder: async (signer = 'delegate', ...options) => {
      const files = [
        '-index',
        'index.txt',
        '-CA',
        'ca.pem',
        '-rsigner',
        `${signer}.pem`,
        '-rkey',
        `${signer}.key`,
      ]
      const place = ['-port', String(port), '-ignore_err']
      const args = ['ocsp', ...files, ...place, ...(options.length > 0 ? options : ['-nmin', '60'])]
      responder = spawn('openssl', args, { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] })
      await saysThatItListens(responder)
    },
  }
}

type Openssl = (...args: readonly string[]) => Promise<unknown>

async function makeCa(openssl: Openssl, name: string): Promise<void> {
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', `${name}.key`]
  await openssl('req', '-x509', ...key, '-out', `${name}.pem`, '-subj', `/CN=${name}`, '-days', '30')
}

async function issue(openssl: Openssl, name: string, extensions: string): Promise<void> {
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', `${name}.key`]
  await openssl('req', ...key, '-out', `${name}.csr`, '-subj', `/CN=${name}`)
  const files = ['-in', `${name}.csr`, '-out', `${name}.pem`, '-extensions', extensions]
  await openssl('ca', '-batch', '-notext', '-config', 'ca.cnf', ...files)
}

function toConfig(url: string): string {
  return `[ca]
default_ca = main
[main]
database = index.txt
new_certs_dir = .
rand_serial = yes
certificate = ca.pem
private_key = ca.key
default_md = sha256
default_days = 20
policy = any
unique_subject = no
[any]
commonName = supplied
[leaf]
subjectAltName = DNS:shop.example
authorityInfoAccess = OCSP;URI:${url}
[ocsp]
extendedKeyUsage = OCSPSigning
`
}

async function readDer(folder: string, file: string): Promise<Buffer> {
  return new X509Certificate(await readFile(join(folder, file))).raw
}

/** Not tried out by connecting: it waits for ever for the question of a connection that has none. */
async function saysThatItListens({ stdout, stderr }: ChildProcess): Promise<void> {
  let said = ''
  const { promise, resolve } = Promise.withResolvers<void>()
  for (const output of [stdout, stderr])
    output?.on('data', (chunk: Buffer) => {
      said += chunk.toString()
      if (/ACCEPT|waiting for OCSP client/.test(said)) resolve()
    })
  await promise
}
