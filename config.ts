/** Every setting, one line each: name, default, kind, bounds. README.md's table is checked against this file. */

import { isIP } from 'node:net'
import { resolve } from 'node:path'
import { isAddress, isHostnameText, isLabelText, isRange, parseEndpoint } from './lib/address-text.ts'
import { type Environment, EnvReader } from './lib/env-reader.ts'
import { isEmail, isSecureUrl, isSmtpUrl } from './lib/url-text.ts'

const BESIDE_ISSUER = 'set if, and only if, LANDFALL_OIDC_ISSUER is'
const BESIDE_MAIL = 'set if, and only if, LANDFALL_SMTP_URL is'
/** A quiet store is asked every 5 s, and given 2 s to answer: what is younger than that is not known to be old. */
const MIN_AGE_S = 8
const DAY_MS = 86_400_000

const DNS_PORT = 53
const CHALLENGE_TYPES = ['tls-alpn-01', 'http-01', 'dns-01'] as const
type ChallengeType = (typeof CHALLENGE_TYPES)[number]
/** Below what Let's Encrypt allows: 50, 5, 300 and 5 (its page on rate limits, 2026-08). */
const ACME_LIMITS = { domain: 40, set: 4, account: 240, failures: 4 }
type AcmeLimit = keyof typeof ACME_LIMITS
const ACME_LIMIT = /^(domain|set|account|failures)=[1-9]\d{0,8}$/

/** The command line reads these; a shell that has them may start a server as well. */
const CLI_SETTINGS = ['LANDFALL_API', 'LANDFALL_TOKEN', 'LANDFALL_CA_FILE']

export type Config = ReturnType<typeof loadConfig>

/** @throws SettingsError naming every wrong or unknown LANDFALL_ setting */
export function loadConfig(source: Environment) {
  const env = new EnvReader(source)
  const config = {
    // Absolute: the processes of a VM have other working folders.
    dataFolder: resolve(env.text('LANDFALL_DATA', '.landfall')),
    domain: env.checked('LANDFALL_DOMAIN', 'localhost', 'a host name in lower case', isHostnameText),
    hostName: env.checked('LANDFALL_HOST_NAME', 'local', 'one DNS label in lower case', isLabelText),
    store: readStore(env),
    api: readApi(env),
    auth: readAuth(env),
    acme: readAcme(env),
    dns: readDns(env),
    vms: readVms(env),
    logLevel: env.choice('LANDFALL_LOG_LEVEL', 'info', ['debug', 'info', 'warn', 'error', 'silent']),
    listen: readListen(env),
    limits: readLimits(env),
    times: readTimes(env),
  }
  for (const name of CLI_SETTINGS) env.text(name, '')
  env.finish('LANDFALL_')
  return Object.freeze(config)
}

function readStore(env: EnvReader) {
  const kind = env.choice('LANDFALL_STORE', 'sqlite', ['sqlite', 'memory', 'redis'])
  const isUrl = (text: string) => (kind === 'redis') === (text !== '')
  return {
    kind,
    /** Several processes share the store. */
    isFleet: kind === 'redis',
    redisUrl: env.checked('LANDFALL_REDIS_URL', '', 'set if, and only if, LANDFALL_STORE is redis', isUrl),
    redisUser: env.text('LANDFALL_REDIS_USER', ''),
    redisPasswordFile: env.text('LANDFALL_REDIS_PASSWORD_FILE', ''),
    redisSentinelPasswordFile: env.text('LANDFALL_REDIS_SENTINEL_PASSWORD_FILE', ''),
    redisCaFile: env.text('LANDFALL_REDIS_CA_FILE', ''),
    redisPrefix: env.checked('LANDFALL_REDIS_PREFIX', 'landfall', '1–64 of A-Z a-z 0-9 : . _ -', isPrefix),
    redisTimeoutMs: env.int('LANDFALL_REDIS_TIMEOUT_MS', 2_000, { min: 100, max: 60_000 }),
    feedLimit: env.int('LANDFALL_FEED_LIMIT', kind === 'redis' ? 100_000 : 10_000, { min: 100 }),
    secretKeyFile: env.text('LANDFALL_SECRET_KEY_FILE', ''),
    snapshotMs: env.int('LANDFALL_SNAPSHOT_INTERVAL_MS', 30_000, { min: 1_000, max: DAY_MS }),
  }
}

function readApi(env: EnvReader) {
  return {
    ratePerSecond: env.int('LANDFALL_API_RATE', 200, { min: 1, max: 1_000_000 }),
    usageFlushMs: env.int('LANDFALL_USAGE_FLUSH_MS', 60_000, { min: 1_000, max: 3_600_000 }),
    auditDays: env.int('LANDFALL_AUDIT_DAYS', 90, { min: 1, max: 36_500 }),
    usageDays: env.int('LANDFALL_USAGE_DAYS', 400, { min: 32, max: 36_500 }),
  }
}

function readAuth(env: EnvReader) {
  const oidcIssuer = env.checked(
    'LANDFALL_OIDC_ISSUER',
    '',
    'an https URL',
    (text) => text === '' || isSecureUrl(text),
  )
  const smtpUrl = env.checked(
    'LANDFALL_SMTP_URL',
    '',
    'a URL without a password, as smtps://user@mail.example.test',
    (text) => text === '' || isSmtpUrl(text),
  )
  const besideIssuer = (text: string) => (oidcIssuer === '') === (text === '')
  const besideMail = (text: string) => (smtpUrl === '') === (text === '')
  const days = (name: string, fallback: number, max: number) => env.int(name, fallback, { min: 1, max })
  return {
    oidcIssuer,
    oidcClientId: env.checked('LANDFALL_OIDC_CLIENT_ID', '', BESIDE_ISSUER, besideIssuer),
    oidcSecretFile: env.checked('LANDFALL_OIDC_CLIENT_SECRET_FILE', '', BESIDE_ISSUER, besideIssuer),
    oidcUserClaim: env.checked('LANDFALL_OIDC_USER_CLAIM', 'sub', 'the name of a claim', (text) =>
      /^[A-Za-z0-9_.:/-]{1,100}$/.test(text),
    ),
    smtpUrl,
    smtpPasswordFile: env.text('LANDFALL_SMTP_PASSWORD_FILE', ''),
    mailFrom: env.checked('LANDFALL_MAIL_FROM', '', BESIDE_MAIL, besideMail),
    people: orPeople(env.list('LANDFALL_PEOPLE', 'e-mail addresses', isEmail)),
    sessionDays: days('LANDFALL_SESSION_DAYS', 30, 400),
    cookieHours: env.int('LANDFALL_COOKIE_HOURS', 168, { min: 1, max: 9_600 }),
    signingKeyDays: days('LANDFALL_SIGNING_KEY_DAYS', 42, 400),
    tokenDays: days('LANDFALL_TOKEN_DAYS', 365, 3_650),
    revocationAgeSeconds: env.int('LANDFALL_REVOCATION_AGE_S', 60, { min: MIN_AGE_S, max: 86_400 }),
    revocationAwaySeconds: env.int('LANDFALL_REVOCATION_AWAY_S', 3_600, { min: MIN_AGE_S, max: 31_536_000 }),
    failuresPerSecond: env.int('LANDFALL_AUTH_RATE', 20, { min: 1, max: 100_000 }),
  }
}

function readAcme(env: EnvReader) {
  const cas = env.list('LANDFALL_ACME_CAS', 'https URLs of ACME directories', isSecureUrl)
  return {
    cas,
    contact: env.checked(
      'LANDFALL_ACME_CONTACT',
      '',
      'an e-mail address',
      (text) => text === '' || isEmail(text),
    ),
    agree: env.choice('LANDFALL_ACME_AGREE', 'no', ['no', 'yes']),
    eabFile: env.text('LANDFALL_ACME_EAB_FILE', ''),
    profiles: env.list('LANDFALL_ACME_PROFILES', 'names of profiles', isWord),
    keys: env.choice('LANDFALL_ACME_KEYS', 'ec', ['ec', 'ec,rsa']),
    challenges: readChallenges(env),
    caFile: env.text('LANDFALL_ACME_CA_FILE', ''),
    limits: readAcmeLimits(env),
    contexts: env.int('LANDFALL_MAX_CERTIFICATE_CONTEXTS', 5_000, { min: 10, max: 1_000_000 }),
    ticketHours: env.int('LANDFALL_TLS_TICKET_HOURS', 12, { min: 1, max: 72 }),
  }
}

function readChallenges(env: EnvReader): readonly ChallengeType[] {
  const isOrder = (text: string) => {
    const types = text.split(',')
    return types.every(isChallengeType) && new Set(types).size === types.length
  }
  const text = env.checked(
    'LANDFALL_ACME_CHALLENGES',
    CHALLENGE_TYPES.join(','),
    'challenge types, the best first',
    isOrder,
  )
  return text.split(',').filter(isChallengeType)
}

function readAcmeLimits(env: EnvReader): Readonly<Record<AcmeLimit, number>> {
  const isLimits = (text: string) => text === '' || text.split(',').every((item) => ACME_LIMIT.test(item))
  const text = env.checked('LANDFALL_ACME_LIMITS', '', 'limits, as domain=40,set=4', isLimits)
  const given = text.split(',').map((item) => item.split('=') as [AcmeLimit, string])
  return {
    ...ACME_LIMITS,
    ...(text !== '' && Object.fromEntries(given.map(([name, value]) => [name, Number(value)]))),
  }
}

function readDns(env: EnvReader) {
  const updateServer = env.checked(
    'LANDFALL_DNS_UPDATE_SERVER',
    '',
    'an IP address and port',
    isEndpointOrNone,
  )
  const besideServer = (text: string) => (updateServer === '') === (text === '')
  const besideUpdates = 'set if, and only if, LANDFALL_DNS_UPDATE_SERVER is'
  return {
    addresses: env.list('LANDFALL_ADDRESSES', 'IP addresses', isAddress),
    resolvers: env.list('LANDFALL_RESOLVERS', 'IP addresses, with a port if it is not 53', isEndpoint),
    listen: parseEndpoint(
      env.checked('LANDFALL_DNS_LISTEN', '', 'an IP address and port', isEndpointOrNone),
      DNS_PORT,
    ),
    names: env.list('LANDFALL_DNS_NAMES', 'host names', isHostnameText),
    updateServer: parseEndpoint(updateServer, DNS_PORT),
    updateZone: env.checked(
      'LANDFALL_DNS_UPDATE_ZONE',
      '',
      besideUpdates,
      (text) => besideServer(text) && (text === '' || isHostnameText(text)),
    ),
    updateKeyFile: env.checked('LANDFALL_DNS_UPDATE_KEY_FILE', '', besideUpdates, besideServer),
  }
}

function readVms(env: EnvReader) {
  return {
    vmm: env.choice('LANDFALL_VMM', 'auto', ['auto', 'qemu', 'process']),
    accel: env.choice('LANDFALL_ACCEL', 'auto', ['auto', 'kvm', 'tcg']),
    network: env.choice('LANDFALL_NETWORK', 'auto', ['auto', 'tap', 'user']),
    guestNetwork: env.checked(
      'LANDFALL_GUEST_NETWORK',
      '10.97.0.0/16',
      'an IPv4 range as 10.97.0.0/16',
      isGuestNetwork,
    ),
    allowedNetworks: env.list('LANDFALL_EGRESS_NETWORKS', 'IPv4 ranges', isRange),
    edgeNetworks: env.list('LANDFALL_EDGE_NETWORKS', 'IPv4 ranges', isRange),
    userEgress: env.choice('LANDFALL_USER_EGRESS', 'off', ['off', 'on']),
    nameServer: env.checked(
      'LANDFALL_NAME_SERVER',
      '',
      'an IPv4 address',
      (text) => text === '' || isIP(text) === 4,
    ),
    cgroup: env.checked('LANDFALL_CGROUP', 'landfall', 'a path below the cgroup mounts, or none', isCgroup),
    diskGraceSeconds: env.int('LANDFALL_DISK_GRACE_S', 86_400, { max: 31_536_000 }),
  }
}

function readListen(env: EnvReader) {
  return {
    host: env.checked('LANDFALL_LISTEN', '127.0.0.1', 'an IP address', isAddress),
    httpsPort: env.int('LANDFALL_HTTPS_PORT', 8443, { max: 65_535 }),
    publicPort: env.int('LANDFALL_PUBLIC_PORT', 0, { max: 65_535 }),
    httpPort: env.int('LANDFALL_HTTP_PORT', 8080, { max: 65_535 }),
    opsPort: env.int('LANDFALL_OPS_PORT', 8081, { max: 65_535 }),
    httpMode: env.choice('LANDFALL_HTTP_MODE', 'redirect', ['redirect', 'relay']),
    edgeName: env.checked('LANDFALL_EDGE_NAME', 'landfall', 'an HTTP token', isWord),
    accessLog: env.choice('LANDFALL_ACCESS_LOG', 'on', ['on', 'off']),
    trustedProxies: env.list('LANDFALL_TRUSTED_PROXIES', 'IP addresses or CIDR ranges', isRange),
  }
}

function readLimits(env: EnvReader) {
  return {
    headerBytes: env.int('LANDFALL_MAX_HEADER_BYTES', 32_768, { min: 4_096, max: 1_048_576 }),
    headerCount: env.int('LANDFALL_MAX_HEADER_COUNT', 100, { min: 10, max: 2_000 }),
    urlBytes: env.int('LANDFALL_MAX_URL_BYTES', 16_384, { min: 256, max: 1_048_576 }),
    streams: env.int('LANDFALL_MAX_STREAMS', 100, { min: 1, max: 10_000 }),
    connectionsPerClient: env.int('LANDFALL_MAX_CONNECTIONS_PER_CLIENT', 1_000, { min: 1 }),
    bodyBytesPerSecond: env.int('LANDFALL_MIN_BODY_RATE', 100),
    tunnelPorts: readPorts(env),
    upstreamConnections: env.int('LANDFALL_MAX_UPSTREAM_CONNECTIONS', 10_000, { min: 1 }),
  }
}

function readTimes(env: EnvReader) {
  return {
    headersMs: env.int('LANDFALL_HEADERS_TIMEOUT_MS', 10_000, { min: 100, max: DAY_MS }),
    bodyIdleMs: env.int('LANDFALL_BODY_IDLE_TIMEOUT_MS', 30_000, { min: 100, max: DAY_MS }),
    keepAliveMs: env.int('LANDFALL_KEEP_ALIVE_TIMEOUT_MS', 75_000, { min: 100, max: DAY_MS }),
    connectMs: env.int('LANDFALL_CONNECT_TIMEOUT_MS', 5_000, { min: 10, max: DAY_MS }),
    firstByteMs: env.int('LANDFALL_FIRST_BYTE_TIMEOUT_MS', 120_000, { min: 10, max: DAY_MS }),
    idleMs: env.int('LANDFALL_IDLE_TIMEOUT_MS', 300_000, { min: 10, max: DAY_MS }),
    tunnelIdleMs: env.int('LANDFALL_TUNNEL_IDLE_TIMEOUT_MS', 3_600_000, { min: 10, max: DAY_MS }),
    wakeMs: env.int('LANDFALL_WAKE_TIMEOUT_MS', 30_000, { min: 100, max: 600_000 }),
    drainMs: env.int('LANDFALL_DRAIN_TIMEOUT_MS', 10_000, { max: DAY_MS }),
  }
}

/** Whoever may reach the port at all reaches it as bare bytes. */
function readPorts(env: EnvReader): ReadonlySet<number> {
  const text = env.checked('LANDFALL_TUNNEL_PORTS', '22', 'ports, as 22,5432', (text) =>
    text.split(',').every((port) => /^[1-9]\d{0,4}$/.test(port) && Number(port) <= 65_535),
  )
  return new Set(text.split(',').map(Number))
}

function isPrefix(text: string): boolean {
  return /^[A-Za-z0-9:._-]{1,64}$/.test(text)
}

function isCgroup(text: string): boolean {
  return /^[A-Za-z0-9_.-]+(\/[A-Za-z0-9_.-]+)*$/.test(text) && !text.split('/').includes('..')
}

/** With room for some guests. */
function isGuestNetwork(text: string): boolean {
  return /^\d+\.\d+\.\d+\.\d+\/(8|9|1\d|2[0-8])$/.test(text) && isRange(text)
}

/** The first one owns the pool that development starts with. */
function orPeople(given: readonly string[]): readonly [string, ...string[]] {
  const [first = 'ada@example.test', ...others] = given.map((email) => email.toLowerCase())
  return given.length === 0 ? [first, 'bob@example.test'] : [first, ...others]
}

function isChallengeType(text: string): text is ChallengeType {
  return CHALLENGE_TYPES.some((type) => type === text)
}

function isWord(text: string): boolean {
  return /^[A-Za-z0-9._-]{1,64}$/.test(text)
}

function isEndpoint(text: string): boolean {
  return parseEndpoint(text, DNS_PORT) !== undefined
}

function isEndpointOrNone(text: string): boolean {
  return text === '' || isEndpoint(text)
}
