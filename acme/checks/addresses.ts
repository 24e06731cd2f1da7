/** Whether a name's addresses are all ours: for http-01 and tls-alpn-01 a CA may connect to any of them. */

import { BlockList, isIPv6 } from 'node:net'
import type { CheckStep } from './checks.ts'
import { type Found, hasFailed, type Lookup } from './lookup.ts'

export interface AddressSettings {
  /** What names may be an alias of. */
  readonly domain: string
  /** Empty: those of the platform domain. */
  readonly addresses: readonly string[]
}

export interface AddressFindings {
  readonly step: CheckStep
  readonly leadsHere: boolean
}

/** Resolves always, unless the look-up's signal aborts. */
export async function checkAddresses(
  name: string,
  lookup: Lookup,
  settings: AddressSettings,
): Promise<AddressFindings> {
  const { ours, isPart } = await findOurs(lookup, settings)
  const found = await lookup.addresses(name)
  if (ours.length === 0) {
    const detail = `${name}: whether it leads here is not known, since no address of ${settings.domain} is found`
    const next = `Set A or AAAA records for ${settings.domain}, or LANDFALL_ADDRESSES.`
    return { leadsHere: false, step: { step: 'dns', state: 'unknown', detail, next } }
  }
  const next = `Set the record: ${name}. CNAME ${settings.domain}. or A and AAAA records with ${ours.join(', ')}.`
  if (hasFailed(found)) return failure(name, found)
  const alias = await lookup.cname(name)
  const shown = `${name}${toAliasText(alias)}`
  if (found.values.length === 0) {
    return {
      leadsHere: false,
      step: { step: 'dns', state: 'wrong', detail: `${shown} has no address`, next },
    }
  }
  return judge(found.values, { shown, ours, isPart, next })
}

interface Ours {
  readonly ours: readonly string[]
  /** There may be more of them. */
  readonly isPart: boolean
}

interface Judged extends Ours {
  readonly shown: string
  readonly next: string
}

function judge(found: readonly string[], { shown, ours, isPart, next }: Judged): AddressFindings {
  const list = new BlockList()
  for (const address of ours) list.addAddress(address, familyOf(address))
  const foreign = found.filter((address) => !list.check(address, familyOf(address)))
  const at = `${shown} is at ${found.slice(0, 8).join(', ')}`
  if (foreign.length === 0) return { leadsHere: true, step: { step: 'dns', state: 'right', detail: at } }
  const which = foreign.slice(0, 8).join(', ')
  if (isPart) {
    const unknown = `${at}; whether ${which} ${foreign.length > 1 ? 'are' : 'is'} ours is not known: a look-up of our addresses failed`
    return { leadsHere: false, step: { step: 'dns', state: 'unknown', detail: unknown, next: 'Try again.' } }
  }
  const detail = `${at}; ${which} ${foreign.length > 1 ? 'are' : 'is'} not ours, which are ${ours.slice(0, 8).join(', ')}`
  const drop = foreign.length < found.length ? `Remove the records with ${which}. Or: ` : ''
  return { leadsHere: false, step: { step: 'dns', state: 'wrong', detail, next: `${drop}${next}` } }
}

function failure(
  name: string,
  { why, isAnswer }: { readonly why: string; readonly isAnswer: boolean },
): AddressFindings {
  const step = { step: 'dns', detail: `${name}: the DNS look-up of its addresses failed: ${why}` } as const
  if (!isAnswer) return { leadsHere: false, step: { ...step, state: 'unknown', next: 'Try again.' } }
  const next = 'See to the name servers of the domain: they fail, or its DNSSEC signatures are wrong.'
  return { leadsHere: false, step: { ...step, state: 'wrong', next } }
}

async function findOurs(lookup: Lookup, settings: AddressSettings): Promise<Ours> {
  if (settings.addresses.length > 0) return { ours: settings.addresses, isPart: false }
  const found = await lookup.addresses(settings.domain)
  return hasFailed(found) ? { ours: [], isPart: true } : { ours: found.values, isPart: found.isPart === true }
}

function toAliasText(alias: Found<string>): string {
  const [target] = hasFailed(alias) ? [] : alias.values
  return target === undefined ? '' : `, an alias of ${target},`
}

function familyOf(address: string): 'ipv4' | 'ipv6' {
  return isIPv6(address) ? 'ipv6' : 'ipv4'
}
