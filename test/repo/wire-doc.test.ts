/** docs/wire.md lists exactly the fields that the schemas of the records have. */

import t from 'tap'
import type { TObject } from 'typebox'
import * as CERTIFICATES from '../../routing/records/certificates.ts'
import { GRANT } from '../../routing/records/grants.ts'
import { LOGIN_CODE, MAIL_LOGIN, REVOCATION, SESSION, SIGNING_KEY } from '../../routing/records/logins.ts'
import * as RECORDS from '../../routing/records/records.ts'
import { CALL, FORMER_OWNER, GRAVE, SNAPSHOT } from '../../routing/records/vm-affairs.ts'
import { type Finding, readProject } from './sources.ts'

const SCHEMAS: Readonly<Record<string, readonly TObject[]>> = {
  pool: [RECORDS.POOL],
  vm: [RECORDS.VM],
  report: [RECORDS.REPORT],
  binding: [RECORDS.BINDING],
  route: [RECORDS.ROUTE],
  domain: [RECORDS.DOMAIN],
  grant: [GRANT],
  snapshot: [SNAPSHOT],
  grave: [GRAVE],
  call: [CALL],
  'former-owner': [FORMER_OWNER],
  session: [SESSION],
  'login-code': [LOGIN_CODE],
  'mail-login': [MAIL_LOGIN],
  revocation: [REVOCATION],
  'signing-key': [SIGNING_KEY],
  certificate: [CERTIFICATES.CERTIFICATE],
  renewal: [CERTIFICATES.RENEWAL],
  order: [CERTIFICATES.ORDER],
  challenge: [CERTIFICATES.CHALLENGE],
  sighting: [CERTIFICATES.SIGHTING],
  'acme-account': [CERTIFICATES.ACME_ACCOUNT],
  'acme-budget': [CERTIFICATES.ACME_BUDGET],
  'ticket-key': [CERTIFICATES.TICKET_KEY],
  token: [RECORDS.TOKEN],
  key: [RECORDS.KEY],
  // One table for both: the host's further fields are marked in words.
  host: [RECORDS.HOST, RECORDS.EDGE],
  usage: [RECORDS.USAGE],
  audit: [RECORDS.AUDIT],
}

/** Field → whether it is optional, by kind, as the tables under `### \`kind/…\`` say. */
function fieldsOf(markdown: string): ReadonlyMap<string, ReadonlyMap<string, boolean>> {
  const sections = markdown.split(/^### /m).slice(1)
  return new Map(
    sections.map((section) => {
      const [title = ''] = section.split('\n')
      const kind = /^`([a-z-]+)\//.exec(title)?.[1] ?? title
      const cells = section.split(/^## /m)[0]?.match(/^\| `[^|]*\|/gm) ?? []
      const names = cells.flatMap((cell) => [...cell.matchAll(/`([a-zA-Z]+)`(\*)?/g)])
      return [kind, new Map(names.map(([, name = '', star]) => [name, star === '*']))]
    }),
  )
}

function findWireFaults(markdown: string): Finding[] {
  const written = fieldsOf(markdown)
  return Object.entries(SCHEMAS).flatMap(([kind, schemas]) => {
    const fields = written.get(kind)
    if (fields === undefined) return [`the record ${kind} is missing`]
    const known = new Set(schemas.flatMap(({ properties }) => Object.keys(properties)))
    const [schema] = schemas
    const missing = [...known]
      .filter((name) => !fields.has(name))
      .map((name) => `${kind}: ${name} is missing`)
    const unknown = [...fields.keys()].filter((name) => !known.has(name)).map((name) => `${kind}: no ${name}`)
    const marked = [...fields]
      .filter(([name]) => known.has(name))
      .filter(
        ([name, isOptional]) => isOptional === ((schema?.required ?? []) as readonly string[]).includes(name),
      )
      .map(([name]) => `${kind}: ${name} is wrongly marked`)
    return [...missing, ...unknown, ...marked]
  })
}

const wire = readProject('docs').find(({ path }) => path === 'docs/wire.md')?.text ?? ''

t.test('docs/wire.md and the schemas agree', async (t) => {
  t.same(findWireFaults(wire), [])
})

t.test('finds what is missing, unknown and wrongly marked', async (t) => {
  const changed = wire
    .replace('| `challenge` | what', '| `riddle` | what')
    .replace('| `host`* | the host that', '| `host` | the host that')
  t.same(findWireFaults(changed), [
    'pool: host is wrongly marked',
    'domain: challenge is missing',
    'domain: no riddle',
  ])
})
