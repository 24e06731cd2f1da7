/** An owner's own certificate, made by openssl, through the command line: served at both edges at once, refused with a reason, taken away again. */

import { createPrivateKey } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { CliOptions } from '../cli/cli-process.ts'
import { readServed } from '../helpers/acme-edge.ts'
import { orderingEdgesFor, type SharingEdges, sharingEdgesFor } from '../helpers/certified-edges.ts'
import { CLI_DOMAIN, fleetCliFor } from '../helpers/fleet-cli.ts'
import { folderFor } from '../helpers/folder.ts'
import { opensslCaFor } from '../helpers/openssl-certificates.ts'
import { originFor } from '../helpers/origin.ts'
import { until } from '../helpers/until.ts'

const NAME = 'www.shop.test'
const UPLOAD = `domain certificate upload ${NAME}`
const DEADLINE_MS = 20_000

async function addRoute(t: Test, { route }: SharingEdges): Promise<void> {
  const origin = await originFor(t)
  await route({ hostname: NAME, visibility: 'public', port: origin.port })
}

/** Whether every edge shows what `root` vouches for. */
async function isServedBy({ edges }: SharingEdges, root: string): Promise<boolean> {
  const shown = await Promise.all(
    edges.map(({ httpsPort }) => readServed(httpsPort, { hostname: NAME, root })),
  )
  return shown.every(({ isTrusted }) => isTrusted)
}

t.test('PEM and PKCS#12 are served at once on both edges, instead of what the local CA makes', async (t) => {
  const sharing = await sharingEdgesFor(t, { env: { LANDFALL_DOMAIN: CLI_DOMAIN } })
  await addRoute(t, sharing)
  const { cli } = fleetCliFor(t, sharing)
  const owner = opensslCaFor(t)
  t.equal(await isServedBy(sharing, sharing.edges[0].ca), true)

  const pem = owner.issue([NAME, 'shop.test'])
  const uploaded = await cli(`${UPLOAD} --cert ${pem.chainFile} --key ${pem.keyFile}`)
  t.match(uploaded, { code: 0, stdout: `${NAME}\n`, stderr: /^uploaded for www\.shop\.test: ec, ends at / })
  await until(() => isServedBy(sharing, owner.rootPem), 'both edges serve it')
  t.match(await cli(`domain certificate show ${NAME}`), { code: 0, stdout: /^ec +upload +CN=Owner middle/m })

  const store = owner.issue(['*.shop.test'], { keyType: 'rsa' })
  const phrase = join(folderFor(t), 'phrase')
  writeFileSync(phrase, 'correct horse\n')
  const line = `${UPLOAD} --pkcs12 ${store.toPkcs12('correct horse')} --passphrase-file ${phrase}`
  t.match(await cli(line), { code: 0, stderr: /^uploaded for www\.shop\.test: rsa/ })
  t.equal(await isServedBy(sharing, owner.rootPem), true)

  t.equal((await cli(`domain certificate remove ${NAME}`)).code, 0)
  await until(() => isServedBy(sharing, sharing.edges[0].ca), 'the local CA makes one again')
  t.equal((await cli(`domain certificate remove ${NAME}`)).code, 4)
})

t.test('what cannot be served is refused with its reason, and changes nothing', async (t) => {
  const sharing = await sharingEdgesFor(t, { env: { LANDFALL_DOMAIN: CLI_DOMAIN } })
  await addRoute(t, sharing)
  const { cli } = fleetCliFor(t, sharing)
  const owner = opensslCaFor(t)
  const good = owner.issue([NAME])
  const other = owner.issue(['www.other.test'])
  const store = good.toPkcs12('right')
  const gap = join(folderFor(t), 'gap.pem')
  writeFileSync(gap, readFileSync(good.leafFile, 'utf8') + owner.rootPem)
  const cases: [string, RegExp, CliOptions?][] = [
    [`--cert ${good.chainFile} --key ${other.keyFile}`, /key/],
    [`--cert ${gap} --key ${good.keyFile}`, /Owner middle/],
    [`--cert ${other.chainFile} --key ${other.keyFile}`, /www\.shop\.test/],
    [`--cert ${good.keyFile} --key ${good.keyFile}`, /certificate/i],
    [`--pkcs12 ${store}`, /passphrase/i, { env: { LANDFALL_PKCS12_PASSPHRASE: 'wrong' } }],
  ]
  for (const [files, reason, options] of cases) {
    const { code, stderr } = await cli(`${UPLOAD} ${files}`, options)
    t.equal(code, 1, files)
    t.match(stderr, /The certificate cannot be used/)
    t.match(stderr.split('\n')[1], reason)
  }
  t.equal(await isServedBy(sharing, sharing.edges[0].ca), true)
})

t.test(
  'what was ordered makes way for an upload, and is ordered again after it; the key is never told',
  async (t) => {
    const ordering = await orderingEdgesFor(t, { env: { LANDFALL_DOMAIN: CLI_DOMAIN } })
    await addRoute(t, ordering)
    const { cli, said } = fleetCliFor(t, ordering)
    const { rootPem, orders } = ordering.smallCa
    await until(() => isServedBy(ordering, rootPem), 'it is ordered', DEADLINE_MS)
    const owner = opensslCaFor(t)
    const leaf = owner.issue([NAME])
    const files = `--cert ${leaf.chainFile} --key ${leaf.keyFile}`
    t.match(await cli(`${UPLOAD} ${files} --json`), { code: 0, stderr: '' })
    await until(() => isServedBy(ordering, owner.rootPem), 'the upload is served')
    t.match(await cli(`domain certificate renew ${NAME}`), { code: 5, stderr: /was uploaded/ })
    const count = orders.length
    t.equal((await cli(`domain certificate remove ${NAME}`)).code, 0)
    await until(() => isServedBy(ordering, rootPem), 'it is ordered again', DEADLINE_MS)
    t.equal(orders.length, count + 1)

    const audit = await cli('audit list --json')
    t.match(audit.stdout, /certificate\/www\.shop\.test\/ec/)
    const logs = ordering.edges.flatMap(({ logged, accessLog }) => [JSON.stringify(logged), ...accessLog])
    const rows = JSON.stringify((await ordering.store.list('', { limit: 1_000 })).documents)
    const told = [...said, ...logs, rows].join('\n')
    t.match(told, 'Owner middle', 'that much is told')
    for (const secret of formsOf(leaf.keyPem)) t.notOk(told.includes(secret), 'the key is told')
  },
)

/** What a key would be recognised by: its PEM, and its secret number as JSON and as hexadecimal have it. */
function formsOf(keyPem: string): string[] {
  const { d = '' } = createPrivateKey(keyPem).export({ format: 'jwk' })
  const lines = keyPem.split('\n').filter((line) => line !== '' && !line.startsWith('-'))
  return [...lines, 'PRIVATE KEY', d, Buffer.from(d, 'base64url').toString('hex')]
}
