/** A client that comes back to another edge resumes its TLS session there, also under an older key; a session is no login, and carries no early data. */

import { execFile } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { Books } from '../../acme/books.ts'
import { createTicketKeyRow } from '../../acme/tickets/ticket-key.ts'
import { createSealer, parseSealKeys } from '../../lib/seal.ts'
import { createBooks } from '../../routing/certificates/books.ts'
import { type SharingEdges, sharingEdgesFor } from '../helpers/certified-edges.ts'
import { folderFor } from '../helpers/folder.ts'
import { originFor } from '../helpers/origin.ts'
import { QUIET_LOG as log } from '../helpers/quiet-log.ts'
import { visit } from '../helpers/resuming-client.ts'
import { until } from '../helpers/until.ts'

const VERSIONS = ['TLSv1.3', 'TLSv1.2'] as const
const HOUR_MS = 3_600_000

async function sceneFor(t: Test) {
  const sharing = await sharingEdgesFor(t)
  for (const hostname of ['a.test', 'b.test']) {
    const origin = await originFor(t, (_request, response) => response.end(hostname))
    await sharing.route({ hostname, visibility: 'public', port: origin.port })
  }
  const secret = await originFor(t, (_request, response) => response.end('secret'))
  await sharing.route({ hostname: 'private.test', visibility: 'private', port: secret.port })
  return { ...sharing, secret }
}

/** A new key that seals from now on. */
async function rotateKeys({ store, dataFolder }: SharingEdges): Promise<void> {
  const sealer = createSealer(parseSealKeys(readFileSync(join(dataFolder, 'secret.key'), 'utf8')))
  const now = Date.now()
  const row = createTicketKeyRow(sealer, {
    sealsFrom: new Date(now).toISOString(),
    knownUntil: new Date(now + 40 * HOUR_MS).toISOString(),
  })
  const { ticketKeys }: Books = createBooks({ store, log })
  const { version } = await ticketKeys.list()
  if (!(await ticketKeys.change({ put: [row], remove: [] }, version))) throw new Error('another was faster')
}

for (const version of VERSIONS) {
  t.test(`${version}: a session is resumed at the other edge, before and after a rotation`, async (t) => {
    const scene = await sceneFor(t)
    const [one, two] = scene.edges
    const first = await visit(one, { version, servername: 'a.test' })
    t.match(first, { isResumed: false, status: 200, body: 'a.test' })
    const again = await visit(two, { version, servername: 'a.test', session: first.session })
    t.match(again, { isResumed: true, status: 200, body: 'a.test' })
    t.match(first.keyName, /^[0-9a-f]{32}$/)

    await rotateKeys(scene)
    const isRotated = async () =>
      (await visit(two, { version, servername: 'a.test' })).keyName !== first.keyName
    await until(isRotated, 'the new key seals')
    for (const edge of scene.edges) {
      const old = await visit(edge, { version, servername: 'a.test', session: first.session })
      t.match(old, { isResumed: true, status: 200 }, `${edge.name} opens tickets of the old key`)
    }
    const fresh = await visit(one, { version, servername: 'a.test' })
    t.match(await visit(two, { version, servername: 'a.test', session: fresh.session }), { isResumed: true })
  })

  t.test(`${version}: the request on a resumed connection goes where its own names lead`, async (t) => {
    const { edges } = await sceneFor(t)
    const [one, two] = edges
    const { session } = await visit(one, { version, servername: 'a.test' })
    const other = await visit(two, { version, servername: 'b.test', session })
    t.match(other, { status: 200, body: 'b.test' }, 'the name of this handshake counts')
    const stale = await visit(two, { version, servername: 'b.test', host: 'a.test', session })
    t.match(stale, { status: 421 }, 'the name of the session does not')
    const wrong = await visit(two, { version, servername: 'a.test', host: 'b.test', session })
    t.equal(wrong.isResumed, true)
    // Node loses the name of a resumed session of TLS 1.2; then the Host field alone says where the request goes.
    if (version === 'TLSv1.2') t.match(wrong, { status: 200, body: 'b.test' })
    else t.match(wrong, { status: 421 })
  })

  t.test(`${version}: a session is no login`, async (t) => {
    const { edges, adminToken, secret } = await sceneFor(t)
    const [one, two] = edges
    const fields = `X-Landfall-Authorization: Bearer ${adminToken}\r\n`
    const known = await visit(one, { version, servername: 'private.test', fields })
    t.match(known, { status: 200, body: 'secret' })
    for (const edge of [one, two]) {
      const stranger = await visit(edge, { version, servername: 'private.test', session: known.session })
      t.match(stranger, { isResumed: true, status: 401 }, edge.name)
    }
    t.equal(secret.requests.length, 1)
  })
}

t.test('tickets offer no early data, and what is sent as such is not taken', async (t) => {
  const { edges, secret } = await sceneFor(t)
  const folder = folderFor(t)
  const [sessionFile, early, caFile] = ['session.pem', 'early.txt', 'ca.pem'].map((name) =>
    join(folder, name),
  )
  writeFileSync(caFile ?? '', edges[0].ca)
  writeFileSync(early ?? '', 'GET / HTTP/1.1\r\nHost: private.test\r\nConnection: close\r\n\r\n')
  const target = ['-connect', `127.0.0.1:${edges[0].httpsPort}`, '-servername', 'private.test', '-tls1_3']
  const options = ['s_client', ...target, '-CAfile', caFile ?? '', '-ign_eof']
  const request = 'GET / HTTP/1.1\r\nHost: private.test\r\nConnection: close\r\n\r\n'
  const full = await run([...options, '-sess_out', sessionFile ?? ''], request)
  t.match(full, /Max Early Data: 0/)
  t.match(full, /HTTP\/1\.1 401/)
  const resumed = await run([...options, '-sess_in', sessionFile ?? '', '-early_data', early ?? ''], request)
  t.match(resumed, /Reused, TLSv1\.3/)
  t.match(resumed, /Early data was not sent/)
  t.equal(secret.requests.length, 0)
})

function run(options: readonly string[], input: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = execFile('openssl', options, { timeout: 20_000 }, (error, stdout, stderr) => {
      if (error === null) resolve(stdout + stderr)
      else reject(new Error(`${error.message}\n${stdout}${stderr}`))
    })
    child.stdin?.end(input)
  })
}
