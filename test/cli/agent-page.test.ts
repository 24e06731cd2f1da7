/** The page for agents is short, and everything in it is true. */

import t from 'tap'
import { get_encoding } from 'tiktoken'
import { COMMANDS } from '../../cli/commands.ts'
import { EXIT } from '../../cli/exit-codes.ts'
import { agentPage } from '../../lib/agent-page.ts'
import { apiFor } from '../routing/api/api-client.ts'
import { cliFor, scriptedCliFor } from './cli-process.ts'

const MAX_TOKENS = 900
const SETTINGS = { apiUrl: 'https://admin.example.test', domain: 'example.test' }
const PAGE = agentPage(SETTINGS)

interface Named {
  /** `/v1/vms/NAME` */
  readonly path: string
  /** Methods that stand beside it; none: it is there at all. */
  readonly methods: readonly string[]
  readonly query: readonly string[]
}

/** Every path of the page. */
function pathsOf(page: string): Named[] {
  // `/v1/vms/VM/restart|wake` is two.
  const whole = page.replaceAll(
    /((?:[A-Z]+ )?\/v1\/[A-Za-z0-9./]*\/)([a-z]+(?:\|[a-z]+)+)/g,
    (_all, start, ends) =>
      String(ends)
        .split('|')
        .map((end) => start + end)
        .join(', '),
  )
  const found = whole.matchAll(
    /(?:\b(GET|PUT|POST|DELETE) )?(\/v1\/[A-Za-z0-9./]*[A-Za-z0-9])(\?[a-z=&0-9]+)?(?: (POST)\b)?/g,
  )
  return [...found].map(([, before, path = '', query = '', after]) => ({
    path,
    methods: [before, after].filter((method) => method !== undefined),
    query:
      query === ''
        ? []
        : query
            .slice(1)
            .split('&')
            .map((part) => part.split('=')[0] ?? ''),
  }))
}

/** `/v1/vms/{vm}` fits `/v1/vms/NAME`. */
function isLike(template: string, path: string): boolean {
  const [wanted, given] = [template.split('/'), path.split('/')]
  return (
    wanted.length === given.length &&
    wanted.every((part, at) => (part.startsWith('{') ? /^[A-Z]+$/.test(given[at] ?? '') : part === given[at]))
  )
}

/** Every command of the page, with its options: `vm list|show` are two. */
function commandsOf(page: string): { readonly commands: string[]; readonly options: string[] }[] {
  const found = page.matchAll(/`(?:landfall )?([a-z][a-z-]*)((?: [a-z|]+)?)((?: [^`]*)?)`/g)
  return [...found].map(([, noun = '', verbs = '', rest = '']) => ({
    commands: (verbs.trim() === '' ? [''] : verbs.trim().split('|')).map((verb) => `${noun} ${verb}`.trim()),
    options: [...rest.matchAll(/--([a-z-]+)/g)].map(([, name = '']) => name),
  }))
}

t.test('it takes at most 900 tokens', (t) => {
  const domains = [SETTINGS, { apiUrl: 'https://admin.localhost:8443/', domain: 'localhost:8443' }]
  const long = 'eu-central.cloud.some-company-of-ours.example.org:8443'
  for (const settings of [...domains, { apiUrl: `https://admin.${long}`, domain: long }]) {
    for (const name of ['o200k_base', 'cl100k_base'] as const) {
      const encoding = get_encoding(name)
      const count = encoding.encode(agentPage(settings)).length
      encoding.free()
      t.ok(count <= MAX_TOKENS, `${count} tokens of ${name} for ${settings.domain}`)
    }
  }
  t.end()
})

t.test('it names the addresses that it was given', (t) => {
  t.match(PAGE, 'API: https://admin.example.test, JSON')
  t.match(PAGE, 'https://NAME.example.test/')
  t.match(PAGE, 'https://P--NAME.example.test/')
  t.match(agentPage({ ...SETTINGS, apiUrl: 'https://admin.example.test/' }), 'https://admin.example.test,')
  t.end()
})

t.test('every path, method and query of it is in the OpenAPI document', async (t) => {
  const { call } = await apiFor(t)
  const { json } = await call('GET', '/v1/openapi.json', { token: '' })
  const paths = json.paths as Record<string, Record<string, { parameters?: { name: string; in: string }[] }>>
  const named = pathsOf(PAGE)
  t.ok(named.length > 20)
  for (const { path, methods, query } of named) {
    const template = Object.keys(paths).find((known) => isLike(known, path))
    const operations = paths[template ?? ''] ?? {}
    t.ok(template, `${path} is there`)
    for (const method of methods) t.ok(operations[method.toLowerCase()], `${method} ${path}`)
    const known = Object.values(operations).flatMap(({ parameters = [] }) => parameters)
    for (const name of query)
      t.ok(
        known.some((it) => it.in === 'query' && it.name === name),
        `${path}?${name}`,
      )
  }
  const isNamed = (template: string) => named.some(({ path }) => isLike(template, path))
  const isImplied = (template: string) => isNamed(template.replace(/\/\{\w+\}$/, ''))
  const unnamed = Object.keys(paths).filter(
    (path) => path.startsWith('/v1/') && !isNamed(path) && !isImplied(path),
  )
  const certificates = ['/v1/certificates/{hostname}', '/v1/certificates/{hostname}/renew']
  const lists = ['/v1/vms/{vm}/ports', '/v1/pools', '/v1/routes', '/v1/domains']
  const left = [...lists, ...certificates, '/v1/table/accept']
  t.same(
    unnamed.filter((path) => !left.includes(path) && path !== '/v1/users/{user}/sessions'),
    [],
    'only what "GET lists" implies, what needs no care, and what operators do in need, are left out',
  )
})

t.test('every field of a body is one that the API knows', async (t) => {
  const { call } = await apiFor(t)
  const { text } = await call('GET', '/v1/openapi.json', { token: '' })
  const fields = [
    ...PAGE.matchAll(/"([A-Za-z]+)"\??(?=[:,}\]])/g),
    ...PAGE.matchAll(/\b([a-z]+(?:Millis|Bytes))\b/g),
  ]
  t.ok(fields.length > 25)
  for (const [, field = ''] of fields) t.ok(text.includes(`"${field}"`), field)
})

t.test('every command and option of it is in the table', (t) => {
  const named = commandsOf(PAGE)
  t.ok(named.flatMap(({ commands }) => commands).length > 20)
  for (const { commands, options } of named) {
    const found = commands.map((name) => COMMANDS.find(({ words }) => words.join(' ') === name))
    t.notOk(found.includes(undefined), commands.join(', '))
    for (const option of options) {
      const isKnown = found.some((command) => Object.hasOwn(command?.options ?? {}, option))
      t.ok(option === 'json' || isKnown, `--${option} of ${commands.join(', ')}`)
    }
  }
  t.end()
})

t.test('its exit codes are the exit codes', (t) => {
  const line = /Exit codes: (.*)\./.exec(PAGE)?.[1] ?? ''
  const codes = line.split(', ').map((part) => Number(part.split(' ')[0]))
  t.same(
    codes,
    Object.values(EXIT).filter((code) => code > 0 && code < 100),
  )
  t.end()
})

t.test('landfall help --agent prints it for the API that is known, or for an example', async (t) => {
  t.equal((await cliFor(t)(['help', '--agent'])).stdout, PAGE)
  const { cli, url, port, calls } = await scriptedCliFor(t, () => ({ body: {} }))
  const { stdout } = await cli(['help', '--agent'])
  t.equal(stdout, agentPage({ apiUrl: url, domain: `localhost:${port}` }))
  t.equal(calls.length, 0, 'nothing is asked')
})
