/** Every setting of the product: defaults that start, bounds that hold, and all problems at once. */

import t from 'tap'
import { loadConfig } from '../../config.ts'
import { SettingsError } from '../../lib/env-reader.ts'

function problemsOf(env: Record<string, string>): readonly string[] {
  try {
    loadConfig(env)
    return []
  } catch (error) {
    if (!(error instanceof SettingsError)) throw error
    return error.problems
  }
}

t.test('starts without any setting: everything on loopback, in a folder of its own', async (t) => {
  t.match(loadConfig({}), {
    ...{ dataFolder: '.landfall', domain: 'localhost', store: { kind: 'sqlite' }, logLevel: 'info' },
    listen: {
      host: '127.0.0.1',
      httpsPort: 8_443,
      httpPort: 8_080,
      httpMode: 'redirect',
      trustedProxies: [],
    },
  })
})

t.test('takes other names in the environment as none of its business', async (t) => {
  t.same(problemsOf({ PATH: '/bin', NODE_ENV: 'x', XLANDFALL_A: '1', landfall_data: 'x' }), [])
})

const GOOD: readonly (readonly [name: string, value: string, wanted: object])[] = [
  ['LANDFALL_HTTPS_PORT', '0', { listen: { httpsPort: 0 } }],
  ['LANDFALL_HTTPS_PORT', '65535', { listen: { httpsPort: 65_535 } }],
  ['LANDFALL_DATA', '/tmp/a b', { dataFolder: '/tmp/a b' }],
  ['LANDFALL_DOMAIN', 'edge.example.test', { domain: 'edge.example.test' }],
  ['LANDFALL_STORE', 'memory', { store: { kind: 'memory' } }],
  ['LANDFALL_LISTEN', '::', { listen: { host: '::' } }],
  ['LANDFALL_LISTEN', '0.0.0.0', { listen: { host: '0.0.0.0' } }],
  ['LANDFALL_HTTP_MODE', 'relay', { listen: { httpMode: 'relay' } }],
  ['LANDFALL_TRUSTED_PROXIES', '10.0.0.1', { listen: { trustedProxies: ['10.0.0.1'] } }],
  ['LANDFALL_TRUSTED_PROXIES', '10.0.0.0/8, ::1', { listen: { trustedProxies: ['10.0.0.0/8', '::1'] } }],
  ['LANDFALL_TRUSTED_PROXIES', '2001:db8::/32,', { listen: { trustedProxies: ['2001:db8::/32'] } }],
  ['LANDFALL_TRUSTED_PROXIES', '0.0.0.0/0', { listen: { trustedProxies: ['0.0.0.0/0'] } }],
  ['LANDFALL_EDGE_NAME', 'fra-1.edge_2', { listen: { edgeName: 'fra-1.edge_2' } }],
  ['LANDFALL_ACME_CAS', 'https://ca.example.test/dir', { acme: { cas: ['https://ca.example.test/dir'] } }],
  ['LANDFALL_ACME_CHALLENGES', 'http-01,dns-01', { acme: { challenges: ['http-01', 'dns-01'] } }],
  [
    'LANDFALL_ACME_LIMITS',
    'set=5,domain=9',
    { acme: { limits: { domain: 9, set: 5, account: 240, failures: 4 } } },
  ],
  ['LANDFALL_DNS_LISTEN', '[::1]:5353', { dns: { listen: { host: '::1', port: 5_353 } } }],
  ['LANDFALL_DNS_LISTEN', '192.0.2.1', { dns: { listen: { host: '192.0.2.1', port: 53 } } }],
  ['LANDFALL_MAX_HEADER_COUNT', '10', { limits: { headerCount: 10 } }],
  ['LANDFALL_DRAIN_TIMEOUT_MS', '0', { times: { drainMs: 0 } }],
]

t.test('takes each kind of setting', async (t) => {
  for (const [name, value, wanted] of GOOD) t.match(loadConfig({ [name]: value }), wanted, `${name}=${value}`)
})

const BAD: readonly (readonly [name: string, ...values: string[]])[] = [
  ['LANDFALL_HTTPS_PORT', '65536', '-1', 'https', '8443.0'],
  ['LANDFALL_HTTP_PORT', '65536'],
  ['LANDFALL_OPS_PORT', '65536'],
  [
    'LANDFALL_DOMAIN',
    'Example.test',
    'a..b',
    '-a',
    'a_b',
    'a/b',
    '*.a',
    'a.',
    'a:443',
    `${'a'.repeat(64)}.test`,
  ],
  ['LANDFALL_STORE', 'postgres', 'SQLite'],
  ['LANDFALL_LOG_LEVEL', 'verbose'],
  ['LANDFALL_LISTEN', 'localhost', '1.2.3', '127.0.0.1:80', '[::1]'],
  ['LANDFALL_HTTP_MODE', 'off'],
  ['LANDFALL_ACCESS_LOG', 'true'],
  [
    'LANDFALL_TRUSTED_PROXIES',
    'proxy.test',
    '10.0.0.0/33',
    '::1/129',
    '10.0.0.0/',
    '10.0.0.0/-1',
    '10.0.0.0/8/8',
  ],
  ['LANDFALL_TRUSTED_PROXIES', '10.0.0.0/x', '/8', '10.0.0.0/1.5', '10.0.0.0/ 8', '::ffff:1.2.3.4/200'],
  ['LANDFALL_ACME_CAS', 'ca.example.test', 'http://ca.example.test/', 'https://ca.example.test/, x'],
  ['LANDFALL_ACME_AGREE', 'true'],
  ['LANDFALL_ACME_CONTACT', 'mailto:ops'],
  ['LANDFALL_ACME_KEYS', 'rsa', 'rsa,ec', 'ed25519'],
  ['LANDFALL_ACME_CHALLENGES', 'http', 'http-01,http-01', 'http-01,', ','],
  ['LANDFALL_ACME_LIMITS', 'domain', 'domain=0', 'names=4', 'domain=4;set=4', 'domain=-1'],
  ['LANDFALL_MAX_CERTIFICATE_CONTEXTS', '9'],
  ['LANDFALL_TLS_TICKET_HOURS', '0', '73'],
  ['LANDFALL_ADDRESSES', 'edge.example.test', '10.0.0.0/8'],
  ['LANDFALL_RESOLVERS', 'dns.example.test', '1.1.1.1:x'],
  ['LANDFALL_DNS_LISTEN', ':53', 'localhost:53', '1.2.3.4:65536'],
  ['LANDFALL_DNS_NAMES', 'NS', 'a b'],
  ['LANDFALL_DNS_UPDATE_ZONE', 'example.test'],
  ['LANDFALL_DNS_UPDATE_KEY_FILE', 'update.key'],
  ['LANDFALL_EDGE_NAME', 'a b', 'a"b', 'a;b', 'a,b', 'é', 'x'.repeat(65)],
  ['LANDFALL_MAX_HEADER_BYTES', '4095', '1048577'],
  ['LANDFALL_MAX_HEADER_COUNT', '9', '2001'],
  ['LANDFALL_MAX_URL_BYTES', '255'],
  ['LANDFALL_MAX_STREAMS', '0'],
  ['LANDFALL_MAX_CONNECTIONS_PER_CLIENT', '0'],
  ['LANDFALL_MAX_UPSTREAM_CONNECTIONS', '0'],
  ['LANDFALL_HEADERS_TIMEOUT_MS', '99', '86400001', '10s'],
  ['LANDFALL_CONNECT_TIMEOUT_MS', '9'],
]

t.test('refuses what is out of bounds, and names the setting', async (t) => {
  for (const [name, ...values] of BAD) {
    for (const value of values) {
      const problems = problemsOf({ [name]: value })
      t.equal(problems.length, 1, `${name}=${value}`)
      t.match(problems[0], new RegExp(`^${name} must be .*\\(got "`), `${name}=${value}`)
    }
  }
})

t.test('tells all problems at once, unknown names among them', async (t) => {
  const problems = problemsOf({
    ...{
      LANDFALL_HTTPS_PORT: 'x',
      LANDFALL_STORE: 'x',
      LANDFALL_DOMAIN: 'X',
      LANDFALL_TRUSTED_PROXIES: 'x,y',
    },
    ...{ LANDFALL_HTTPS_PROT: '1', LANDFALL_: '1' },
  })
  t.same(
    problems.map((problem) => problem.split(' ')[0]).sort(),
    [
      ...['LANDFALL_', 'LANDFALL_DOMAIN', 'LANDFALL_HTTPS_PORT', 'LANDFALL_HTTPS_PROT', 'LANDFALL_STORE'],
      ...['LANDFALL_TRUSTED_PROXIES', 'LANDFALL_TRUSTED_PROXIES'],
    ].sort(),
  )
})

t.test('cannot be changed once it is read', async (t) => {
  const config = loadConfig({})
  t.throws(() => Object.assign(config, { domain: 'x' }))
})

t.test('the data folder is absolute, for processes with other working folders use it', async (t) => {
  t.equal(loadConfig({}).dataFolder, `${process.cwd()}/.landfall`)
  t.equal(loadConfig({ LANDFALL_DATA: 'a/b' }).dataFolder, `${process.cwd()}/a/b`)
})
