/** docs/errors.md explains every code that an edge, its admin API or its start can answer with, and no other. */

import t from 'tap'
import { FAULTS as ACME } from '../../acme/errors.ts'
import { FAULTS as AUTH } from '../../auth/errors.ts'
import { FAULTS as LOGIN } from '../../auth/login/errors.ts'
import type { Fault } from '../../lib/errors.ts'
import { ERRORS_PATH } from '../../lib/problem.ts'
import { FAULTS as RELAY } from '../../proxy/errors.ts'
import { FAULTS as ROUTING } from '../../routing/errors.ts'
import { FAULTS as SIDECAR } from '../../sidecar/errors.ts'
import { edgeFor } from '../helpers/edge.ts'
import { exchange, isWhole } from '../helpers/raw-client.ts'
import { type Finding, readProject } from './sources.ts'

type Faults = Readonly<Record<string, Fault>>

/** The relay says http_request_denied where a fault names no type of its own. */
const ANSWERED_BY_RELAY: Faults = withProxyStatus({ ...RELAY, ...AUTH })
const ALL: Faults = { ...ANSWERED_BY_RELAY, ...LOGIN, ...ROUTING, ...ACME, ...SIDECAR }
const MIN_WORDS = 8

function withProxyStatus(faults: Faults): Faults {
  const entries = Object.entries(faults).map(([code, fault]) => [
    code,
    { proxyStatus: 'http_request_denied', ...fault },
  ])
  return Object.fromEntries(entries)
}

interface Section {
  readonly title: string
  readonly text: string
}

/** The parts of a document under headings of one level; what stands before the first is left out. */
function sectionsOf(markdown: string, level: '##' | '###'): Section[] {
  const parts = markdown.split(new RegExp(`^${level} `, 'm')).slice(1)
  return parts.map((part) => {
    const end = part.indexOf('\n')
    return { title: part.slice(0, end).trim(), text: part.slice(end + 1) }
  })
}

function familyOf(code: string): string {
  return code.split('_')[0] ?? ''
}

function findDocFaults(markdown: string, faults: Faults): Finding[] {
  const families = [...new Set(Object.keys(faults).map(familyOf))]
  const sections = sectionsOf(markdown, '##')
  return [
    ...findNameFaults(
      sections.map(({ title }) => title),
      families,
      'family',
    ),
    ...sections.flatMap((section) => findFamilyFaults(section, faults)),
  ]
}

function findFamilyFaults({ title: family, text }: Section, faults: Faults): Finding[] {
  const codes = Object.keys(faults).filter((code) => familyOf(code) === family)
  const entries = sectionsOf(text, '###')
  const introduction = text.split(/^### /m)[0] ?? ''
  return [
    ...(isLong(introduction) ? [] : [`${family}: says too little about the family`]),
    ...findNameFaults(
      entries.map(({ title }) => title),
      codes,
      'code',
    ),
    ...entries.flatMap((entry) => findEntryFaults(entry, faults[entry.title])),
  ]
}

/** An entry opens with `Status 404. Proxy-Status `type`.`, then says what happened, then what to do. */
function findEntryFaults({ title: code, text }: Section, fault: Fault | undefined): Finding[] {
  if (fault === undefined) return []
  const [first = '', happened = '', todo = '', ...more] = text.trim().split(/\n\n/)
  const type = fault.proxyStatus === undefined ? '' : ` Proxy-Status \`${fault.proxyStatus}\`.`
  const wanted = `Status ${fault.status}.${type}`
  return [
    ...(first === wanted ? [] : [`${code}: opens with "${first}", not with "${wanted}"`]),
    ...(isLong(happened) ? [] : [`${code}: does not say what happened`]),
    ...(todo.startsWith('**Do:** ') && isLong(todo) ? [] : [`${code}: does not say what to do`]),
    ...(more.length === 0 ? [] : [`${code}: has more than three paragraphs`]),
  ]
}

function findNameFaults(given: readonly string[], wanted: readonly string[], kind: string): Finding[] {
  const missing = wanted.filter((name) => !given.includes(name))
  const unknown = given.filter((name) => !wanted.includes(name))
  const twice = given.filter((name, at) => given.indexOf(name) !== at)
  return [
    ...missing.map((name) => `the ${kind} ${name} is missing`),
    ...unknown.map((name) => `there is no ${kind} ${name}`),
    ...twice.map((name) => `the ${kind} ${name} is there twice`),
  ]
}

function isLong(text: string): boolean {
  return text.trim().split(/\s+/).length >= MIN_WORDS
}

t.test('docs/errors.md explains exactly the codes that there are, by family', async (t) => {
  const doc = readProject('docs').find(({ path }) => path === 'docs/errors.md')?.text ?? ''
  t.same(findDocFaults(doc, ALL), [])
})

t.test('the page that every problem leads to explains each code', async (t) => {
  const edge = await edgeFor(t)
  const request = `GET ${ERRORS_PATH} HTTP/1.1\r\nHost: app.localhost\r\n\r\n`
  const { body } = await exchange(await edge.dialPlain(), request, isWhole)
  const answered = Object.keys({ ...ANSWERED_BY_RELAY, ...LOGIN, ...ROUTING })
  t.same(
    answered.filter((code) => !body.includes(`id="${code}"`)),
    [],
  )
})

t.test('finds every way the document can be wrong', async (t) => {
  const fault = { source: 'client', retryable: false, title: '', next: '' } as const
  const faults: Faults = {
    cat_asleep: { ...fault, status: 503, proxyStatus: 'connection_timeout' },
    cat_gone: { ...fault, status: 404 },
  }
  const words = 'Eight words are enough to say it here.'
  const entry = (code: string, first: string) => `### ${code}\n\n${first}\n\n${words}\n\n**Do:** ${words}\n`
  const [asleep, gone] = [
    entry('cat_asleep', 'Status 503. Proxy-Status `connection_timeout`.'),
    entry('cat_gone', 'Status 404.'),
  ]
  const good = `# Errors\n\n## cat\n\n${words}\n\n${asleep}\n${gone}`
  t.same(findDocFaults(good, faults), [])
  const cases: [string, string, RegExp][] = [
    ['a missing family', '# Errors\n', /the family cat is missing/],
    ['an unknown family', `${good}\n## dog\n\n${words}\n`, /there is no family dog/],
    ['a silent family', good.replace(`${words}\n\n${asleep}`, asleep), /too little about the family/],
    ['a missing code', good.replace(gone, ''), /the code cat_gone is missing/],
    ['an unknown code', good + entry('cat_flown', 'Status 404.'), /there is no code cat_flown/],
    ['a code twice', `${good}\n${gone}`, /the code cat_gone is there twice/],
    ['a wrong status', good.replace('Status 404', 'Status 410'), /cat_gone: opens with "Status 410."/],
    ['a wrong type', good.replace('connection_timeout', 'x'), /cat_asleep: opens with/],
    [
      'a missing explanation',
      good.replace(`503. Proxy-Status \`connection_timeout\`.\n\n${words}`, ''),
      /cat_asleep/,
    ],
    ['nothing to do', good.replace(`**Do:** ${words}`, words), /cat_asleep: does not say what to do/],
  ]
  for (const [name, doc, expected] of cases) {
    const found = findDocFaults(doc, faults)
    t.ok(
      found.some((finding) => expected.test(finding)),
      `${name}: ${found.join('; ')}`,
    )
  }
})
