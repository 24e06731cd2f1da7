/** The local authority: what is on disk, what its certificates say, and what happens when files are wrong. */

import { execFile } from 'node:child_process'
import { createPrivateKey, generateKeyPairSync, X509Certificate } from 'node:crypto'
import { chmod, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { loadLocalCa } from '../../acme/local-ca.ts'

const DAY_MS = 86_400_000
const MODULE = new URL('../../acme/local-ca.ts', import.meta.url).href

async function modeOf(path: string): Promise<string> {
  return ((await stat(path)).mode & 0o777).toString(8)
}

async function folderFor(t: Test): Promise<string> {
  const folder = join(t.testdir(), 'ca')
  await loadLocalCa(folder)
  return folder
}

t.test('makes an authority that may sign servers and nothing else', async (t) => {
  const folder = join(t.testdir(), 'data', 'ca')
  const ca = await loadLocalCa(folder)
  const certificate = new X509Certificate(ca.certPem)
  t.match(certificate.subject, /^CN=Landfall local CA [0-9a-f]{8}$/)
  t.equal(certificate.issuer, certificate.subject)
  t.equal(certificate.ca, true)
  t.ok(certificate.verify(certificate.publicKey))
  t.equal(certificate.publicKey.asymmetricKeyDetails?.namedCurve, 'prime256v1')
  const years = (certificate.validToDate.getTime() - Date.now()) / (365.25 * DAY_MS)
  t.ok(years > 9.9 && years < 10.1, 'lives ten years')
  t.equal(ca.certFile, join(folder, 'ca.pem'))
})

t.test('keeps the folder and the key from other users', async (t) => {
  const folder = await folderFor(t)
  t.equal(await modeOf(folder), '700')
  t.equal(await modeOf(join(folder, 'ca.key')), '600')
  t.equal(await modeOf(join(folder, 'ca.pem')), '644')
  t.match(await readFile(join(folder, 'ca.key'), 'utf8'), /^-----BEGIN PRIVATE KEY-----/, 'PKCS#8')
  t.same((await readdir(folder)).toSorted(), ['ca.key', 'ca.pem'], 'no draft is left behind')
})

t.test('is the same authority at the next start', async (t) => {
  const folder = await folderFor(t)
  const first = await loadLocalCa(folder)
  const second = await loadLocalCa(folder)
  t.equal(first.certPem, second.certPem)
})

t.test('finishes what a crash between key and certificate left', async (t) => {
  const folder = await folderFor(t)
  const key = await readFile(join(folder, 'ca.key'), 'utf8')
  await rm(join(folder, 'ca.pem'))
  const ca = await loadLocalCa(folder)
  t.equal(await readFile(join(folder, 'ca.key'), 'utf8'), key)
  t.ok(new X509Certificate(ca.certPem).checkPrivateKey(createPrivateKey(key)))
})

t.test('gives processes that start at once one and the same pair', async (t) => {
  const folder = join(t.testdir(), 'ca')
  const program = `
    const { loadLocalCa } = await import(${JSON.stringify(MODULE)})
    const cas = await Promise.all([1, 2, 3].map(() => loadLocalCa(process.argv[1])))
    process.stdout.write(JSON.stringify(cas.map((ca) => ca.certPem)))`
  const runs = Array.from({ length: 4 }, () =>
    promisify(execFile)(process.execPath, ['--input-type=module', '-e', program, folder]),
  )
  const outputs = await Promise.all(runs)
  const certificates = new Set(outputs.flatMap(({ stdout }) => JSON.parse(stdout)))
  t.equal(certificates.size, 1)
  const [certPem] = certificates
  const key = createPrivateKey(await readFile(join(folder, 'ca.key')))
  t.ok(new X509Certificate(String(certPem)).checkPrivateKey(key))
  t.same((await readdir(folder)).toSorted(), ['ca.key', 'ca.pem'])
})

t.test('refuses a pair that cannot work and says what to do', async (t) => {
  const other = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey
  const pem = (key: typeof other) => key.export({ type: 'pkcs8', format: 'pem' })
  const cases = [
    { name: "another pair's key", file: 'ca.key', text: pem(other), reason: 'does not belong to ca.pem' },
    { name: 'a key of another kind', file: 'ca.key', text: pem(rsa), reason: 'not an EC P-256 key' },
    { name: 'a damaged key', file: 'ca.key', text: 'nonsense', reason: 'not a private key' },
    { name: 'a damaged certificate', file: 'ca.pem', text: 'nonsense', reason: 'not a certificate' },
  ]
  for (const { name, file, text, reason } of cases) {
    t.test(`refuses ${name}`, async (t) => {
      const folder = await folderFor(t)
      await writeFile(join(folder, file), text)
      const refusal = await t.rejects(loadLocalCa(folder), { code: 'local_ca_broken' })
      t.match(refusal, { message: new RegExp(reason), fault: { next: /Remove ca.pem and ca.key/ } })
      t.match(refusal, { message: folder }, 'names the folder')
    })
  }
})

t.test("refuses a server's certificate in the authority's place", async (t) => {
  const folder = await folderFor(t)
  const { certPem, keyPem } = await (await loadLocalCa(folder)).issue(['a.localhost'])
  await writeFile(join(folder, 'ca.pem'), certPem)
  await writeFile(join(folder, 'ca.key'), keyPem)
  await t.rejects(loadLocalCa(folder), {
    code: 'local_ca_broken',
    message: /not the certificate of an authority/,
  })
})

t.test('refuses a certificate without its key', async (t) => {
  const folder = await folderFor(t)
  await rm(join(folder, 'ca.key'))
  await t.rejects(loadLocalCa(folder), { code: 'local_ca_broken', message: /ca.key is missing/ })
})

t.test('refuses a certificate outside its time', async (t) => {
  const folder = await folderFor(t)
  const later = () => Date.now() + 3_660 * DAY_MS
  await t.rejects(loadLocalCa(folder, { now: later }), { code: 'local_ca_broken', message: /has expired/ })
  const earlier = () => Date.now() - DAY_MS
  await t.rejects(loadLocalCa(folder, { now: earlier }), {
    code: 'local_ca_broken',
    message: /not valid yet/,
  })
})

t.test('says so when the folder cannot be used', async (t) => {
  const folder = join(t.testdir({ file: 'not a folder' }), 'file')
  await t.rejects(loadLocalCa(folder), { code: 'local_ca_unwritable', message: new RegExp(folder) })
})

t.test('leaves the mode of a folder that was there before: it may be one that others need', async (t) => {
  const folder = await folderFor(t)
  await chmod(folder, 0o755)
  await loadLocalCa(folder)
  t.equal(await modeOf(folder), '755')
  t.equal(await modeOf(join(folder, 'ca.key')), '600')
})

t.test('issues certificates that browsers accept', async (t) => {
  const ca = await loadLocalCa(await folderFor(t))
  const { certPem, keyPem, notAfter } = await ca.issue(['localhost', '*.localhost'])
  const certificate = new X509Certificate(certPem)
  const authority = new X509Certificate(ca.certPem)
  t.equal(certificate.subjectAltName, 'DNS:localhost, DNS:*.localhost')
  t.ok(certificate.checkIssued(authority))
  t.ok(certificate.verify(authority.publicKey))
  t.equal(certificate.ca, false)
  t.same(certificate.keyUsage, ['1.3.6.1.5.5.7.3.1'], 'serverAuth only')
  t.ok(certificate.checkPrivateKey(createPrivateKey(keyPem)))
  t.equal(certificate.validToDate.getTime(), notAfter.getTime())
  const lifeDays = (certificate.validToDate.getTime() - certificate.validFromDate.getTime()) / DAY_MS
  t.ok(lifeDays > 90 && lifeDays < 90.1)
  t.ok(certificate.validFromDate.getTime() < Date.now() - 3_500_000, 'valid since an hour ago')
})

t.test('gives each certificate its own key and a positive serial of 16 bytes', async (t) => {
  const ca = await loadLocalCa(await folderFor(t))
  const issued = await Promise.all(Array.from({ length: 20 }, () => ca.issue(['a.localhost'])))
  const serials = issued.map(({ certPem }) => new X509Certificate(certPem).serialNumber)
  t.equal(new Set(serials).size, 20)
  t.equal(new Set(issued.map(({ keyPem }) => keyPem)).size, 20)
  for (const serial of serials) t.match(serial, /^[4-7][0-9A-F]{31}$/)
})

t.test('lets other work go on between certificates that are asked for at once', async (t) => {
  const ca = await loadLocalCa(await folderFor(t))
  let turns = 0
  const count = () => {
    turns += 1
    next = setImmediate(count)
  }
  let next = setImmediate(count)
  t.teardown(() => clearImmediate(next))
  const endedAt = await Promise.all(
    Array.from({ length: 20 }, () => ca.issue(['a.localhost']).then(() => turns)),
  )
  t.equal(new Set(endedAt).size, 20, 'each in a turn of the event loop of its own')
})

t.test('never lets a certificate outlive the authority', async (t) => {
  const folder = await folderFor(t)
  let nowMs = Date.now()
  const ca = await loadLocalCa(folder, { now: () => nowMs })
  nowMs = ca.notAfter.getTime() - 10 * DAY_MS
  const { notAfter } = await ca.issue(['a.localhost'])
  t.equal(notAfter.getTime(), ca.notAfter.getTime())
  nowMs = ca.notAfter.getTime()
  await t.rejects(ca.issue(['a.localhost']), { code: 'local_ca_broken' })
})
