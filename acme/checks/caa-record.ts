/** CAA records as they are judged (RFC 8659 section 4, RFC 8657). */

import type { ChallengeType } from '../rows.ts'

export interface CaaRecord {
  /** Lower case. */
  readonly tag: string
  readonly value: string
  readonly isCritical: boolean
}

export interface CaaAsker {
  readonly identities: readonly string[]
  readonly accountUrl: string | undefined
  readonly types: readonly ChallengeType[]
}

const CRITICAL = 128
/** RFC 8659 section 4, RFC 9495, and the CA/Browser Forum's; none but the first two restrict these certificates. */
const KNOWN_TAGS = ['issue', 'issuewild', 'iodef', 'issuemail', 'issuevmc', 'contactemail', 'contactphone']

/** What Node's `resolveCaa` gives: the flags as `critical`, the value by its tag. */
export function parseCaa(record: object): CaaRecord {
  const fields = Object.entries(record).filter(([tag]) => tag !== 'type')
  const [tag = '', value = ''] = fields.find(([tag]) => tag !== 'critical') ?? fields[0] ?? []
  const flags: unknown = 'critical' in record ? record.critical : 0
  // A property of the tag `critical` hides its flags; nobody knows such a tag.
  const isCritical = typeof flags !== 'number' || (flags & CRITICAL) !== 0
  return { tag: tag.toLowerCase(), value: String(value), isCritical }
}

export function isUnknownCritical({ tag, isCritical }: CaaRecord): boolean {
  return isCritical && !KNOWN_TAGS.includes(tag)
}

/** RFC 8659 sections 4.2 and 4.3: `issuewild` counts for wildcards alone, and there alone if there is any. */
export function selectProperties(records: readonly CaaRecord[], isWildcard: boolean): readonly CaaRecord[] {
  const wild = isWildcard ? records.filter(({ tag }) => tag === 'issuewild') : []
  return wild.length > 0 ? wild : records.filter(({ tag }) => tag === 'issue')
}

/** The types by which one property lets this account of this CA prove the name; empty: it allows somebody else. */
export function toAllowedTypes({ value }: CaaRecord, asker: CaaAsker): readonly ChallengeType[] {
  const parsed = parseValue(value)
  if (parsed === undefined || !asker.identities.includes(parsed.domain)) return []
  const { accounts, methods } = parsed
  // RFC 8657 section 3: more than one can never be met.
  if (accounts.length > 1 || methods.length > 1) return []
  const [account] = accounts
  if (account !== undefined && account !== asker.accountUrl) return []
  const [allowed] = methods
  return allowed === undefined ? asker.types : asker.types.filter((type) => allowed.split(',').includes(type))
}

interface IssueValue {
  readonly domain: string
  readonly accounts: readonly string[]
  readonly methods: readonly string[]
}

/** RFC 8659 section 4.2: `domain; tag=value; …`. What is malformed allows nobody. */
function parseValue(value: string): IssueValue | undefined {
  const [domain = '', ...rest] = value.split(';').map((part) => part.trim())
  const parameters = rest
    .filter((part) => part !== '')
    .map((part) => /^([a-z0-9-]+)\s*=\s*([!-~]*)$/i.exec(part))
  if (domain === '' || parameters.includes(null)) return undefined
  const find = (wanted: string) =>
    parameters.flatMap((found) => (found?.[1]?.toLowerCase() === wanted ? [found[2] ?? ''] : []))
  return {
    domain: domain.toLowerCase(),
    accounts: find('accounturi'),
    methods: find('validationmethods'),
  }
}
