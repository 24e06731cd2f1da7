/** curl, as the printed hint says: with the local CA, over either version, against `landfall dev`. */

import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { type Landfall, landfallFor } from '../helpers/landfall.ts'

const run = promisify(execFile)
/** Said after the answer: status, version and how the certificate was judged. */
const FACTS = '\n%{http_code} %{http_version} %{ssl_verify_result}'

for (const [option, version] of [
  ['--http1.1', '1.1'],
  ['--http2', '2'],
] as const) {
  t.test(`curl ${option} gets what it asks for and uploads, with and without waiting`, async (t) => {
    const landfall = await landfallFor(t)
    const page = await curl(t, landfall, [option, '-H', 'Accept: application/json'])
    t.equal(page.facts, `200 ${version} 0`)
    t.match(JSON.parse(page.body), { method: 'GET', target: '/', headers: { 'x-forwarded-proto': 'https' } })
    const upload = await curl(t, landfall, [option, '--data-binary', '@main.ts'], '/echo')
    t.equal(upload.facts, `200 ${version} 0`)
    t.match(upload.body, "The command line's entry", 'the file came back')
    const big = await curl(
      t,
      landfall,
      [option, '-H', 'Expect: 100-continue', '-T', 'package-lock.json'],
      '/sink',
    )
    t.match(JSON.parse(big.body), { bytes: /^\d{6}$/ })
  })
}

t.test('curl believes the certificate because of the CA alone', async (t) => {
  const landfall = await landfallFor(t)
  const options = ['-sS', ...resolveOptions(landfall, 'hello.localhost')]
  const failure = await run('curl', [...options, `https://hello.localhost:${landfall.httpsPort}/`]).then(
    () => ({ code: 0 }),
    (error: { code: number }) => error,
  )
  // 60: the peer's certificate cannot be authenticated with known CA certificates.
  t.equal(failure.code, 60)
})

t.test('curl shows a problem that says what to do', async (t) => {
  const landfall = await landfallFor(t)
  t.equal(
    (
      await landfall.admin('PUT', '/v1/routes/gone.localhost', {
        upstream: '127.0.0.1:9',
        visibility: 'public',
      })
    ).status,
    201,
  )
  const { body, facts } = await curl(t, landfall, [], '/', 'gone.localhost')
  t.match(facts, /^502 2 0/)
  t.match(JSON.parse(body), { code: 'connect_refused', next: /listens on the port/ })
})

async function curl(
  t: Test,
  landfall: Landfall,
  options: readonly string[],
  path = '/',
  hostname = 'hello.localhost',
): Promise<{ body: string; facts: string }> {
  const url = `https://${hostname}:${landfall.httpsPort}${path}`
  const args = ['-sS', '--max-time', '20', '-w', FACTS, '--cacert', landfall.caFile]
  const { stdout, stderr } = await run('curl', [
    ...args,
    ...resolveOptions(landfall, hostname),
    ...options,
    url,
  ])
  t.equal(stderr, '')
  const cut = stdout.lastIndexOf('\n')
  return { body: stdout.slice(0, cut), facts: stdout.slice(cut + 1) }
}

/** Not every resolver knows that names below localhost are loopback. */
function resolveOptions({ httpsPort }: Landfall, hostname: string): string[] {
  return ['--resolve', `${hostname}:${httpsPort}:127.0.0.1`]
}
