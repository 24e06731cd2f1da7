/** PKCS#12 files as OpenSSL writes them, of today and of old, and how they are refused. */

import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { AcmeError } from '../../../acme/errors.ts'
import { readUpload } from '../../../acme/imports/upload.ts'
import { folderFor } from '../../helpers/folder.ts'
import { type Chain, mintChain, NOW } from '../../helpers/minted.ts'

const RULES = { now: () => NOW, hostnames: ['www.shop.example'] }

/** Makes PKCS#12 files of one chain, in base64. */
function exporterFor(t: Test, { leaf, intermediate, root }: Chain) {
  const folder = folderFor(t)
  const file = (name: string) => join(folder, name)
  writeFileSync(file('leaf.pem'), leaf.pem)
  writeFileSync(file('leaf.key'), leaf.keyPem)
  writeFileSync(file('more.pem'), root.pem + intermediate.pem)
  return (passphrase: string, ...options: readonly string[]) => {
    const sources = ['-in', file('leaf.pem'), '-inkey', file('leaf.key'), '-certfile', file('more.pem')]
    const line = ['pkcs12', '-export', ...options, ...sources, '-out', file('x.p12')]
    execFileSync('openssl', [...line, '-passout', `pass:${passphrase}`], { stdio: 'pipe' })
    return readFileSync(file('x.p12')).toString('base64')
  }
}

async function reasonOf(upload: { readonly pkcs12: string; readonly passphrase?: string }): Promise<string> {
  try {
    await readUpload(upload, RULES)
    return ''
  } catch (error) {
    if (!(error instanceof AcmeError) || error.code !== 'certificate_invalid') throw error
    return error.detail ?? ''
  }
}

const WAYS: readonly (readonly [string, ...string[]])[] = [
  ['secret'],
  ['secret', '-legacy'],
  [''],
  ['', '-legacy'],
  ['pässwörd €', '-name', 'the shop'],
  ['pässwörd', '-legacy'],
  ['x', '-nomac'],
  ['x', '-keypbe', 'NONE', '-certpbe', 'NONE'],
  ['x', '-legacy', '-certpbe', 'PBE-SHA1-RC2-40', '-keypbe', 'PBE-SHA1-3DES'],
  ['x', '-keypbe', 'AES-128-CBC', '-certpbe', 'AES-192-CBC', '-macalg', 'sha512'],
  ['x', '-iter', '20000'],
]

for (const kind of ['P-256', 'P-384', 'rsa-2048'] as const) {
  t.test(`OpenSSL's files with a key ${kind}`, async (t) => {
    const chain = await mintChain({ kind })
    const toPkcs12 = exporterFor(t, chain)
    const keyDer = chain.leaf.key.export({ type: 'pkcs8', format: 'der' })
    for (const [passphrase, ...options] of WAYS) {
      const pkcs12 = toPkcs12(passphrase, ...options)
      const read = await readUpload({ pkcs12, ...(passphrase !== '' && { passphrase }) }, RULES)
      const name = `${options.join(' ')} "${passphrase}"`
      t.ok(read.keyDer.equals(keyDer), name)
      t.same(read.chain, [chain.leaf.der, chain.intermediate.der], name)
    }
  })
}

t.test('what does not open says why', async (t) => {
  const toPkcs12 = exporterFor(t, await mintChain())
  const pkcs12 = toPkcs12('secret')
  t.match(await reasonOf({ pkcs12, passphrase: 'Secret' }), /does not open with this passphrase/)
  t.match(await reasonOf({ pkcs12 }), /does not open with this passphrase/)
  t.match(await reasonOf({ pkcs12: toPkcs12('x', '-nokeys') }), /does not open|holds no private key/)
  t.match(await reasonOf({ pkcs12: toPkcs12('x', '-nokeys'), passphrase: 'x' }), /holds no private key/)
  t.match(
    await reasonOf({ pkcs12: toPkcs12('x', '-nocerts'), passphrase: 'x' }),
    /belongs to none of the certificates/,
  )
  t.match(await reasonOf({ pkcs12: `${pkcs12.slice(0, 40)}!` }), /"pkcs12" is not base64/)
  t.match(await reasonOf({ pkcs12: '' }), /"pkcs12" is not base64/)
  t.match(await reasonOf({ pkcs12: Buffer.from('hello').toString('base64') }), /no PKCS#12 file, or damaged/)
  const cut = Buffer.from(pkcs12, 'base64').subarray(0, 400).toString('base64')
  t.match(await reasonOf({ pkcs12: cut, passphrase: 'secret' }), /or (is )?damaged/)
  t.match(await reasonOf({ pkcs12, passphrase: 'x'.repeat(1_025) }), /"passphrase" is longer/)
  const dear = toPkcs12('x', '-iter', '450000', '-legacy')
  t.match(
    await reasonOf({ pkcs12: dear, passphrase: 'x' }),
    /all its parts together have too many iterations/,
  )
  const camellia = toPkcs12('x', '-keypbe', 'CAMELLIA-256-CBC')
  t.match(
    await reasonOf({ pkcs12: camellia, passphrase: 'x' }),
    /encrypted in a way that is not known|damaged/,
  )
})

t.test('the event loop goes on while a file with many iterations is opened', async (t) => {
  const toPkcs12 = exporterFor(t, await mintChain())
  for (const options of [[], ['-legacy', '-macalg', 'sha256']]) {
    const pkcs12 = toPkcs12('x', '-iter', '200000', ...options)
    const [all, ours] = [process.cpuUsage(), process.threadCpuUsage()]
    await readUpload({ pkcs12, passphrase: 'x' }, RULES)
    const allMs = process.cpuUsage(all).user / 1_000
    const oursMs = process.threadCpuUsage(ours).user / 1_000
    t.comment(`CPU ${Math.round(allMs)} ms, on the event loop ${oursMs.toFixed(1)} ms`)
    t.ok(oursMs < allMs / 4, 'a worker has the work')
  }
})
