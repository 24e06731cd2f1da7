/** Whether CAA records let the CA issue for a name, judged as CAs do: climbing the tree, and refusing what fails. */

import { toBareName } from '../hostnames.ts'
import type { ChallengeType } from '../rows.ts'
import {
  type CaaAsker,
  type CaaRecord,
  isUnknownCritical,
  parseCaa,
  selectProperties,
  toAllowedTypes,
} from './caa-record.ts'
import type { CheckStep } from './checks.ts'
import { type Failed, hasFailed, type Lookup } from './lookup.ts'

export interface CaaFindings {
  readonly step: CheckStep
  /** Those of the asker that are allowed. */
  readonly types: readonly ChallengeType[]
}

interface RecordSet {
  /** Where in the tree it was found. */
  readonly at: string
  readonly records: readonly CaaRecord[]
}

/** `name` with `*.` for a wildcard. Resolves always, unless the look-up's signal aborts. */
export async function checkCaa(name: string, lookup: Lookup, asker: CaaAsker): Promise<CaaFindings> {
  const set = await findSet(toBareName(name), lookup)
  if (set === undefined) return allow(asker.types, `${name}: no CAA record restricts who may issue`)
  if ('why' in set) return fail(name, set)
  const strange = set.records.find(isUnknownCritical)
  if (strange !== undefined) {
    const detail = `${name}: CAA at ${set.at} has the critical property "${strange.tag}", which no CA may ignore`
    return refuse(detail, `Remove the CAA property "${strange.tag}" from ${set.at}.`)
  }
  const properties = selectProperties(set.records, name.startsWith('*.'))
  if (properties.length === 0) return allow(asker.types, `${name}: CAA at ${set.at} restricts nobody`)
  return judge(properties, { name, at: set.at, asker })
}

/** RFC 8659 section 3: the first name with any record, upwards; the resolver follows aliases. */
async function findSet(
  name: string,
  lookup: Lookup,
): Promise<RecordSet | (Failed & { readonly at: string }) | undefined> {
  const labels = name.split('.')
  for (let index = 0; index < labels.length; index++) {
    const at = labels.slice(index).join('.')
    const found = await lookup.caa(at)
    if (hasFailed(found)) return { ...found, at }
    if (found.values.length > 0) return { at, records: found.values.map(parseCaa) }
  }
  return undefined
}

interface Case {
  readonly name: string
  readonly at: string
  readonly asker: CaaAsker
}

function judge(properties: readonly CaaRecord[], { name, at, asker }: Case): CaaFindings {
  const [identity] = asker.identities
  const shown = properties.map(({ tag, value }) => `${tag} "${value}"`).join(', ')
  if (identity === undefined) {
    const detail = `${name}: CAA at ${at} has ${shown}; the CA does not say which name it goes by`
    return { types: asker.types, step: { step: 'caa', state: 'unknown', detail } }
  }
  const allowed = properties.flatMap((property) => toAllowedTypes(property, asker))
  const types = asker.types.filter((type) => allowed.includes(type))
  if (types.length === asker.types.length) return allow(types, `${name}: CAA at ${at} allows ${identity}`)
  if (types.length > 0)
    return allow(types, `${name}: CAA at ${at} allows ${identity} by ${types.join(', ')} only`)
  const tag = name.startsWith('*.') ? 'issuewild' : 'issue'
  const next = `Add the record: ${at}. CAA 0 ${tag} "${identity}" (RFC 8659).${toAccountText(properties, asker)}`
  const who = `${asker.identities.join(' or ')} by ${asker.types.join(', ')}`
  return refuse(`${name}: CAA at ${at} has ${shown}, which does not allow ${who}`, next)
}

/** For who names accounts; visitors, who may be shown the detail alone, are not told of ours. */
function toAccountText(properties: readonly CaaRecord[], { accountUrl }: CaaAsker): string {
  const isNamed = properties.some(({ value }) => /;\s*accounturi\s*=/i.test(value))
  return isNamed && accountUrl !== undefined ? ` The account is ${accountUrl} (RFC 8657).` : ''
}

/** RFC 8659 section 7 and the CA/Browser Forum's rules: what cannot be asked is not allowed. */
function fail(name: string, { at, why, isAnswer }: Failed & { readonly at: string }): CaaFindings {
  const detail = `${name}: the CAA look-up failed: ${why}, at ${at}; a CA does not issue then`
  if (!isAnswer) return { types: [], step: { step: 'caa', state: 'unknown', detail, next: 'Try again.' } }
  return refuse(
    detail,
    `See to the name servers of ${at}: they must answer for CAA, with nothing if there is none.`,
  )
}

function allow(types: readonly ChallengeType[], detail: string): CaaFindings {
  return { types, step: { step: 'caa', state: 'right', detail } }
}

function refuse(detail: string, next: string): CaaFindings {
  return { types: [], step: { step: 'caa', state: 'wrong', detail, next } }
}
