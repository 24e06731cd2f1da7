/** Puts the checks together: which of the demanded challenge types can prove every name as DNS is now, and why not. */

import { isIP } from 'node:net'
import { CHALLENGES, isByDelegation } from '../challenges/challenge-types.ts'
import { toDetail } from '../details.ts'
import type { DnsUpdater } from '../dns/updater.ts'
import { AcmeError } from '../errors.ts'
import type { ChallengeType } from '../rows.ts'
import { type AddressSettings, checkAddresses } from './addresses.ts'
import { checkCaa } from './caa.ts'
import type { CheckDemand, CheckOutcome, CheckStep, Checks } from './checks.ts'
import { checkDelegation } from './delegation.ts'
import { type CheckResolver, createLookup, type Lookup } from './lookup.ts'

export interface ChecksDeps {
  readonly resolver: CheckResolver
  readonly updater?: Pick<DnsUpdater, 'covers'>
}

export interface ChecksSettings extends AddressSettings {
  /** As `acme.example.com`; absent when the edges answer no zone. */
  readonly responderZone?: string
  /** For each query. Default 5,000. */
  readonly timeoutMs?: number
  /** For one check. Default 30,000. */
  readonly totalMs?: number
}

interface NameFindings {
  readonly steps: readonly CheckStep[]
  readonly types: readonly ChallengeType[]
}

interface Work {
  readonly lookup: Lookup
  readonly deps: ChecksDeps
  readonly settings: ChecksSettings
  readonly demand: CheckDemand
}

/** @throws AcmeError certificate_setting when one of `addresses` is none */
export function createChecks(deps: ChecksDeps, settings: ChecksSettings): Checks {
  const { timeoutMs = 5_000, totalMs = 30_000, addresses } = settings
  const wrong = addresses.find((address) => isIP(address) === 0)
  if (wrong !== undefined) throw new AcmeError('certificate_setting', { detail: `${wrong} is no IP address` })
  return {
    check: async (demand, signal) => {
      const lookup = createLookup(deps.resolver, { timeoutMs, totalMs, signal })
      const found = await Promise.all(
        demand.names.map((name) => checkName(name, { lookup, deps, settings, demand })),
      )
      return toOutcome(found, demand)
    },
  }
}

/** A wildcard can only be proven by dns-01 (RFC 8555 section 7.1.3), and has no addresses of its own. */
async function checkName(name: string, { lookup, deps, settings, demand }: Work): Promise<NameFindings> {
  const { types, caaIdentities, accountUrl } = demand
  const identities = caaIdentities.map((identity) => identity.toLowerCase())
  const isByUpdate = (at: string) => deps.updater?.covers(at) ?? false
  const [addresses, delegation, caa] = await Promise.all([
    name.startsWith('*.') ? undefined : checkAddresses(name, lookup, settings),
    types.some(isByDelegation)
      ? checkDelegation(name, lookup, { isByUpdate, responderZone: settings.responderZone })
      : undefined,
    checkCaa(name, lookup, { identities, accountUrl, types }),
  ])
  const isRight = {
    address: addresses?.leadsHere ?? false,
    delegation: delegation?.isDelegated ?? false,
  }
  const allowed = caa.types.length > 0 ? caa.types : types
  const ways = types.filter((type) => isRight[CHALLENGES[type].provesBy] && allowed.includes(type))
  // Who can be proven in another way need not delegate anything; where CAA allows none, no delegation helps.
  const isTold = delegation?.isDelegated || ways.length === 0
  return {
    steps: [addresses?.step, isTold ? delegation?.step : undefined, caa.step].filter(
      (step) => step !== undefined,
    ),
    types: ways.filter((type) => caa.types.includes(type)),
  }
}

function toOutcome(found: readonly NameFindings[], { types }: CheckDemand): CheckOutcome {
  const steps = new Map(
    found.flatMap(({ steps }) => steps).map((step) => [`${step.step} ${step.detail}`, toSafe(step)]),
  )
  return {
    steps: [...steps.values()],
    types: types.filter((type) => found.every((one) => one.types.includes(type))),
  }
}

function toSafe({ detail, next, ...step }: CheckStep): CheckStep {
  return {
    ...step,
    detail: toDetail(detail),
    ...(next !== undefined && { next: toDetail(next) }),
  }
}
