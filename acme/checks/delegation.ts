/** Whether dns-01 can be answered for a name: by an alias into the zone that the edges answer, or by updates. */

import { toChallengeName, toDnsLabel } from '../dns/challenge-label.ts'
import { isOurSoa } from '../dns/zone.ts'
import type { CheckStep } from './checks.ts'
import { type Failed, hasFailed, type Lookup } from './lookup.ts'

/** RFC 1034 section 3.6.2 wants no chains; resolvers follow about as many. */
const MAX_ALIASES = 8

export interface DelegationSettings {
  /** Whether a name is in a zone that takes our updates. */
  readonly isByUpdate: (name: string) => boolean
  /** The zone that edges answer; absent when they answer none. */
  readonly responderZone: string | undefined
}

export interface DelegationFindings {
  readonly step: CheckStep
  readonly isDelegated: boolean
}

/** Resolves always, unless the look-up's signal aborts. */
export async function checkDelegation(
  name: string,
  lookup: Lookup,
  { isByUpdate, responderZone }: DelegationSettings,
): Promise<DelegationFindings> {
  const from = toChallengeName(name)
  if (isByUpdate(from)) return right(`${from} is written by updates of its zone`)
  if (responderZone === undefined) {
    const next = 'The operator of the platform sets LANDFALL_DNS_LISTEN or LANDFALL_DNS_UPDATE_SERVER.'
    return wrong(`${name} cannot be proven by dns-01 here`, next)
  }
  const target = `${toDnsLabel(name)}.${responderZone}`
  const fault = await findAliasFault({ from, target }, lookup)
  if (fault !== undefined) return fault
  return (
    (await findZoneFault(responderZone, lookup)) ??
    right(`${from} is an alias of ${target}, which is answered here`)
  )
}

interface Alias {
  readonly from: string
  readonly target: string
}

async function findAliasFault(
  { from, target }: Alias,
  lookup: Lookup,
): Promise<DelegationFindings | undefined> {
  const next = `Set the record: ${from}. CNAME ${target}. (and no other record of that name)`
  let at = from
  for (let aliases = 0; aliases < MAX_ALIASES; aliases++) {
    const found = await lookup.cname(at)
    if (hasFailed(found)) return failed(at, found)
    const [alias] = found.values
    if (alias === undefined) return wrong(toWrongAlias({ from, target }, at), next)
    at = alias.toLowerCase().replace(/\.$/, '')
    if (at === target) return undefined
  }
  return wrong(`${from} is an alias of aliases without an end`, next)
}

function toWrongAlias({ from, target }: Alias, at: string): string {
  return at === from ? `${from} is no alias of ${target}` : `${from} is an alias of ${at}, not of ${target}`
}

async function findZoneFault(zone: string, lookup: Lookup): Promise<DelegationFindings | undefined> {
  const next = `The operator of the platform sets NS records for ${zone} that lead to edges with LANDFALL_DNS_LISTEN, reachable at port 53 over UDP and TCP.`
  const found = await lookup.soa(zone)
  if (hasFailed(found))
    return {
      ...failed(zone, found),
      ...(found.isAnswer && wrong(`${zone} is not answered: ${found.why}`, next)),
    }
  const [soa] = found.values
  if (soa === undefined) return wrong(`${zone} is no zone in DNS`, next)
  return isOurSoa(soa, zone) ? undefined : wrong(`${zone} is answered by another server`, next)
}

function failed(at: string, { why, isAnswer }: Failed): DelegationFindings {
  const detail = `The DNS look-up of ${at} failed: ${why}`
  if (isAnswer) return wrong(detail, `See to the name servers of ${at}.`)
  return { isDelegated: false, step: { step: 'delegation', state: 'unknown', detail, next: 'Try again.' } }
}

function right(detail: string): DelegationFindings {
  return { isDelegated: true, step: { step: 'delegation', state: 'right', detail } }
}

function wrong(detail: string, next: string): DelegationFindings {
  return { isDelegated: false, step: { step: 'delegation', state: 'wrong', detail, next } }
}
