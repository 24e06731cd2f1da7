/** `domain check` and `domain certificate`: what is wrong ends with an exit code, and no secret is on a command line. */

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { folderFor } from '../helpers/folder.ts'
import { scriptedCliFor } from './cli-process.ts'
import { problem, type Script } from './scripted-api.ts'

const DOMAIN = { hostname: 'www.example.org', vm: 'web', state: 'proven', provenBy: 'txt' }
const STEPS = [
  { step: 'route', state: 'right', detail: 'Served.' },
  { step: 'dns', state: 'wrong', detail: 'It leads to 192.0.2.7.', next: 'Set its A record to 192.0.2.1.' },
  { step: 'caa', state: 'unknown', detail: 'No answer.' },
  { step: 'order', state: 'wrong', detail: 'The last try failed.' },
]
const CHECKED = { hostname: 'www.example.org', state: 'waiting', steps: STEPS, certificates: [] }

const answers: Script = ({ method, path }) => {
  if (method === 'DELETE') return { status: 204 }
  return { body: path.startsWith('/v1/domains/') ? DOMAIN : CHECKED }
}

t.test('domain check ends with 1 when a step is wrong, and says which', async (t) => {
  const { cli, calls } = await scriptedCliFor(t, answers)
  const { code, stdout, stderr } = await cli('domain check www.example.org'.split(' '))
  t.equal(code, 1)
  t.match(stdout, /^hostname +www\.example\.org\n/)
  t.match(
    stdout,
    /\nright +route +Served\.\nwrong +dns +It leads to 192\.0\.2\.7\.\n +next: Set its A record/,
  )
  t.match(stderr, /Something is wrong with the domain\n {2}www\.example\.org: dns, order\.\n/)
  t.same(calls[1]?.query, { check: 'true' })
  const asJson = await cli('domain check www.example.org --json'.split(' '))
  t.equal(asJson.code, 1)
  t.same(JSON.parse(asJson.stdout), { ...DOMAIN, certificate: CHECKED })
  t.match(JSON.parse(asJson.stderr), { code: 'cli_domain_wrong' })
})

t.test(
  'domain check of a domain that is not proven says how to prove it, and looks no further',
  async (t) => {
    const pending = { ...DOMAIN, state: 'pending', records: [{ type: 'TXT', name: '_l.www', value: 'v' }] }
    const { cli, calls } = await scriptedCliFor(t, () => ({ body: pending }))
    const { code, stdout, stderr } = await cli('domain check www.example.org'.split(' '))
    t.equal(code, 1)
    t.match(stdout, /state +pending/)
    t.match(stderr, /Set one of these in DNS[\s\S]*_l\.www +TXT +v[\s\S]*www\.example\.org: proof\./)
    t.equal(calls.length, 1)
  },
)

t.test("domain check of the platform's own name needs no proof", async (t) => {
  const good = { ...CHECKED, steps: STEPS.slice(0, 1) }
  const { cli } = await scriptedCliFor(t, ({ path }) =>
    path.startsWith('/v1/domains/') ? problem(404, 'api_not_found') : { body: good },
  )
  const { code, stdout } = await cli('domain check example.test'.split(' '))
  t.equal(code, 0)
  t.equal(stdout, 'right  route  Served.\n')
  const stranger = await scriptedCliFor(t, ({ path }) =>
    path.startsWith('/v1/domains/') ? problem(404, 'api_not_found') : problem(403, 'api_forbidden'),
  )
  const refused = await stranger.cli('domain check example.test'.split(' '))
  t.equal(refused.code, 4, 'the first refusal counts')
  t.match(refused.stderr, 'api_not_found')
})

t.test('a certificate is uploaded from PEM files', async (t) => {
  const folder = folderFor(t)
  const [cert, key] = [join(folder, 'chain.pem'), join(folder, 'key.pem')]
  writeFileSync(cert, 'the chain\n')
  writeFileSync(key, 'the key\n')
  const { cli, calls } = await scriptedCliFor(t, answers)
  const line = ['domain', 'certificate', 'upload', 'www.example.org']
  const { code, stdout, stderr } = await cli([...line, '--cert', cert, '--key', key])
  t.equal(code, 0, stderr)
  t.equal(stdout, 'www.example.org\n')
  t.match(stderr, /^uploaded for www\.example\.org/)
  t.notMatch(stdout + stderr, /the key/)
  t.match(calls, [
    {
      method: 'PUT',
      path: '/v1/certificates/www.example.org',
      body: { certificate: 'the chain\n', key: 'the key\n' },
    },
  ])
  t.equal((await cli([...line, '--cert', cert, '--key', `${key}.missing`])).code, 2)
  t.equal(calls.length, 1)
})

t.test(
  'a PKCS#12 file is opened with a passphrase of a file, of standard input or of the environment',
  async (t) => {
    const folder = folderFor(t)
    const [file, pass, long] = [join(folder, 'x.p12'), join(folder, 'pass'), join(folder, 'long.p12')]
    writeFileSync(file, Buffer.from([0x30, 0xff]))
    writeFileSync(pass, 'of the file \r\nand no more\n')
    writeFileSync(long, Buffer.alloc(70_000))
    const { cli, calls } = await scriptedCliFor(t, answers)
    const line = ['domain', 'certificate', 'upload', 'www.example.org', '--pkcs12', file]
    await cli([...line, '--passphrase-file', pass])
    await cli([...line, '--passphrase-file', '-'], { stdin: 'of standard input' })
    await cli(line, { env: { LANDFALL_PKCS12_PASSPHRASE: 'of the environment' } })
    await cli(line)
    t.same(
      calls.map(({ body }) => body),
      ['of the file ', 'of standard input', 'of the environment', ''].map((passphrase) => ({
        pkcs12: 'MP8=',
        passphrase,
      })),
    )
    calls.length = 0
    const tooLong = await cli(['domain', 'certificate', 'upload', 'www.example.org', '--pkcs12', long])
    t.equal(tooLong.code, 2)
    t.match(tooLong.stderr, /too long/)
    t.equal(calls.length, 0)
  },
)

t.test('files that do not go together are refused before anything is sent', async (t) => {
  const { cli, calls } = await scriptedCliFor(t, answers)
  for (const line of [
    'domain certificate',
    'domain certificate show',
    'domain certificate steal www.example.org',
    'domain certificate upload www.example.org',
    'domain certificate upload www.example.org --cert a',
    'domain certificate upload www.example.org --key a',
    'domain certificate upload www.example.org --pkcs12 a --key b',
    'domain certificate upload www.example.org --cert a --key b --passphrase-file c',
    'domain certificate upload www.example.org --pkcs12 a --passphrase secret',
    'domain certificate show www.example.org --cert a',
    'domain certificate remove www.example.org --pkcs12 a',
  ]) {
    const { code, stdout } = await cli(line.split(' '))
    t.equal(code, 2, line)
    t.equal(stdout, '')
  }
  t.equal(calls.length, 0)
})

t.test('what the API refuses of an upload is told with its code', async (t) => {
  const refusal = problem(400, 'certificate_invalid', { detail: 'The certificate ended at 2020.' })
  const { cli } = await scriptedCliFor(t, () => refusal)
  const file = join(folderFor(t), 'pem')
  writeFileSync(file, 'x')
  const line = ['domain', 'certificate', 'upload', 'www.example.org', '--cert', file, '--key', file]
  const { code, stderr } = await cli(line)
  t.equal(code, 1)
  t.match(stderr, /The certificate ended at 2020\.[\s\S]*certificate_invalid/)
})
