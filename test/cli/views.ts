/** An API that has one of everything: what the commands are shown. */

import { problem, type Script } from './scripted-api.ts'

const POOL = {
  name: 'web',
  cpuMillis: 1_500,
  memoryBytes: 8_589_934_592,
  diskBytes: 107_374_182_400,
  host: 'local',
  createdAt: '2026-01-31T12:00:00Z',
  revision: 7,
}
export const VM = {
  name: 'web',
  pool: 'p',
  image: 'hello',
  state: 'running',
  url: 'https://web.example.test/',
  ports: { 8000: { visibility: 'public' } },
  report: { state: 'running', host: 'local', generation: 2, ports: [8000] },
  isReady: true,
  comment: 'the shop',
  createdAt: '2026-01-31T12:00:00Z',
  revision: 9,
}
const SNAPSHOT = {
  id: '0f3a9c21be44',
  vm: 'web',
  kind: 'made',
  state: 'ready',
  label: 'before',
  bytes: 1_048_576,
  takenAt: '2026-01-31T12:00:00Z',
}
const TOKEN = {
  id: 'abc',
  label: 'deploy',
  scopes: [{ pool: 'web', verbs: ['read', 'write'] }],
  createdAt: '2026-01-31T12:00:00Z',
}
const GRANT = {
  id: 'g1',
  to: { kind: 'email', value: 'ann@example.org' },
  role: 'viewer',
  ports: [80, 81],
  expiresAt: '2027-01-01T00:00:00Z',
}
const VM_TOKEN = {
  id: 't1',
  vm: 'web',
  label: 'ci',
  hostname: 'web.example.test',
  methods: ['GET', 'HEAD'],
  pathPrefix: '/api',
  ctx: 'job 7',
  expiresAt: '2027-01-01T00:00:00Z',
  createdAt: '2026-01-31T12:00:00Z',
  createdBy: 'abc',
}
const LINK = {
  id: 'l1',
  vm: 'web',
  label: 'for Ann',
  hostname: 'web.example.test',
  ports: [3_000],
  needsLogin: false,
  isSingleUse: true,
  uses: 0,
  expiresAt: '2027-01-01T00:00:00Z',
  createdAt: '2026-01-31T12:00:00Z',
  createdBy: 'abc',
}
const SESSION = {
  id: 's1',
  user: 'https://id.example.test/ann',
  email: 'ann@example.org',
  method: 'oidc',
  createdAt: '2026-01-31T12:00:00Z',
  expiresAt: '2027-01-01T00:00:00Z',
}
const DOMAIN = {
  hostname: 'www.example.org',
  vm: 'web',
  state: 'pending',
  lastError: 'There is no TXT record.',
  records: [
    { type: 'TXT', name: '_landfall-challenge.www.example.org', value: 'ch4llenge' },
    { type: 'CNAME', name: 'www.example.org', value: 'web.example.test' },
  ],
  createdAt: '2026-01-31T12:00:00Z',
}
const CERTIFICATE = {
  hostname: 'www.example.org',
  state: 'served',
  steps: [
    { step: 'route', state: 'right', detail: 'Requests are served here.', next: 'not shown' },
    { step: 'dns', state: 'waiting', detail: 'It leads \u001b[31mhere\nsoon.', next: 'Wait.' },
    { step: 'certificate', state: 'right', detail: 'ec from CN=E1, ends at 2027-01-01T00:00:00Z.' },
  ],
  certificates: [
    {
      keyType: 'ec',
      names: ['www.example.org'],
      source: 'acme',
      issuer: 'CN=E1',
      notBefore: '2026-10-01T00:00:00Z',
      notAfter: '2027-01-01T00:00:00Z',
      renewAt: '2026-12-01T00:00:00Z',
      fingerprint: 'AA:BB',
    },
  ],
}
const HOST = {
  name: 'local',
  isAlive: true,
  cpuMillis: 4_000,
  memoryBytes: 8_589_934_592,
  diskBytes: 0,
  images: ['hello'],
  version: '0.1.0',
  startedAt: '2026-01-31T12:00:00Z',
}
const COUNTS = {
  cpuSeconds: 3_600,
  memoryByteSeconds: 1_073_741_824 * 7_200,
  diskBytes: 1_024,
  replicatedBytes: 0,
  egressBytes: 2_048,
  requests: 1_234,
}

/** What the API has, by path. */
export const ITEMS: Readonly<Record<string, object>> = {
  '/v1/pools': { pools: [POOL] },
  '/v1/pools/web': POOL,
  '/v1/pools/web/usage': {
    pool: 'web',
    from: '2026-01-01T00:00:00Z',
    to: '2026-02-01T00:00:00Z',
    total: COUNTS,
    hours: [{ hour: '2026-01-31T12:00:00Z', ...COUNTS }],
  },
  '/v1/vms': {
    vms: [VM, { ...VM, name: 'db', state: 'stopped', report: undefined, comment: '\u001b[31mred' }],
  },
  '/v1/vms/web': VM,
  '/v1/vms/web/ports': {
    ports: [
      { port: 80, visibility: 'public', isDefault: true, isOpen: true, url: 'https://web.example.test/' },
      { port: 81, visibility: 'private', authorization: 'app', isDefault: false, isOpen: false },
    ],
  },
  '/v1/vms/web/ports/3000': { port: 3000, visibility: 'public', url: 'https://3000--web.example.test/' },
  '/v1/vms/web/grants': {
    grants: [
      GRANT,
      { ...GRANT, id: 'g2', ports: undefined, label: 'the auditor' },
      { ...GRANT, id: 'g3', to: { kind: 'user', value: 'bob' }, via: 'l1' },
      { ...GRANT, id: 't1', to: { kind: 'token', value: 't1' }, token: { hostname: 'x' }, label: 'ci' },
      { ...GRANT, id: 'l1', to: { kind: 'link', value: 'l1' }, link: { uses: 0 }, label: 'for Ann' },
      { ...GRANT, id: 'l2', to: { kind: 'link', value: 'l2' }, link: { closedAt: '2026-02-01T00:00:00Z' } },
    ],
  },
  '/v1/vms/web/tokens': { tokens: [VM_TOKEN, { ...VM_TOKEN, id: 't2', methods: undefined, ports: [80] }] },
  '/v1/vms/web/tokens/t1': VM_TOKEN,
  '/v1/vms/web/links': {
    links: [LINK, { ...LINK, id: 'l2', needsLogin: true, isSingleUse: false, uses: 3 }],
  },
  '/v1/vms/web/links/l1': LINK,
  '/v1/sessions': { sessions: [SESSION] },
  '/v1/vms/web/grants/g1': GRANT,
  '/v1/vms/web/snapshots': {
    snapshots: [SNAPSHOT, { ...SNAPSHOT, id: 'f00', kind: 'kept', state: 'wanted', bytes: undefined }],
  },
  '/v1/vms/web/restart': VM,
  '/v1/vms/web/suspend': { ...VM, report: { ...VM.report, state: 'asleep' } },
  '/v1/vms/web/wake': VM,
  '/v1/vms/web/restore': { ...VM, restore: { id: 'f00', snapshot: '0f3a9c21be44' } },
  '/v1/routes': {
    routes: [
      { hostname: 'a.example.test', vm: 'web', port: 80, visibility: 'public', state: 'running' },
      { hostname: 'b.example.test', upstream: '127.0.0.1:9000', visibility: 'private', state: 'running' },
    ],
  },
  '/v1/routes/a.example.test': {
    hostname: 'a.example.test',
    vm: 'web',
    visibility: 'public',
    state: 'running',
    generation: 3,
  },
  '/v1/domains': { domains: [DOMAIN] },
  '/v1/domains/www.example.org': DOMAIN,
  '/v1/domains/www.example.org/check': {
    ...DOMAIN,
    state: 'proven',
    provenBy: 'txt',
    url: 'https://www.example.org/',
  },
  '/v1/certificates/www.example.org': CERTIFICATE,
  '/v1/certificates/www.example.org/renew': { ...CERTIFICATE, state: 'pending' },
  '/v1/tokens': { tokens: [TOKEN] },
  '/v1/tokens/abc': TOKEN,
  '/v1/keys': {
    keys: [
      { id: 'k1', user: 'ann', type: 'ssh-ed25519', label: 'laptop', createdAt: '2026-01-31T12:00:00Z' },
    ],
  },
  '/v1/keys/k1': {
    id: 'k1',
    user: 'ann',
    type: 'ssh-ed25519',
    publicKey: 'ssh-ed25519 AAAA',
    label: 'laptop',
    createdAt: '2026-01-31T12:00:00Z',
  },
  '/v1/hosts': { hosts: [HOST] },
  '/v1/hosts/local': HOST,
  '/v1/edges': {
    edges: [{ name: 'edge-1', isAlive: false, version: '0.1.0', startedAt: '2026-01-31T12:00:00Z' }],
  },
  '/v1/edges/edge-1': { name: 'edge-1', isAlive: false, version: '0.1.0', startedAt: '2026-01-31T12:00:00Z' },
  '/v1/audit': {
    audit: [
      { at: '2026-01-31T12:00:00Z', who: 'abc', action: 'create', key: 'vm/web', pool: 'p', requestId: 'r1' },
    ],
  },
  '/v1/status': {
    store: { isReachable: true, revision: 12 },
    table: { revision: 12, refused: { count: 0 } },
    counts: { pools: 1, vms: 2 },
    hosts: { alive: 1, dead: 0 },
  },
  '/v1/table/accept': { storeId: 's1' },
  '/v1/whoami': { id: 'abc', scopes: TOKEN.scopes },
}

/** Answers reads with what there is, and writes with what they would make of it. */
export const script: Script = ({ method, path, body }) => {
  if (method === 'DELETE' && path.includes('/v1/users/'))
    return { status: 200, body: { user: 'ann', sessions: 1, keys: 2, deletedKeys: 0 } }
  if (method === 'DELETE') return { status: 204 }
  if (method === 'POST' && path === '/v1/tokens')
    return { status: 201, body: { ...TOKEN, token: 'lf_the_token' } }
  if (method === 'POST' && path === '/v1/vms/web/grants') return { status: 201, body: GRANT }
  if (method === 'POST' && path === '/v1/vms/web/tokens')
    return { status: 201, body: { ...VM_TOKEN, token: 'eyJh.eyJh.c2ln' } }
  if (method === 'POST' && path === '/v1/vms/web/links')
    return { status: 201, body: { ...LINK, url: 'https://web.example.test/.landfall/share?link=eyJh' } }
  if (method === 'POST' && path === '/v1/vms/web/snapshots') return { status: 201, body: SNAPSHOT }
  if (method === 'POST' && path === '/v1/keys') return { status: 201, body: { id: 'k1' } }
  const item = ITEMS[path]
  if (item === undefined) return problem(404, 'api_not_found')
  return { body: method === 'PUT' ? { ...item, ...(body as object) } : item }
}
