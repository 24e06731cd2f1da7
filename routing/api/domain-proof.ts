/** Proofs that a domain is its user's: a TXT record that only this user was told, or a CNAME to the VM. */

import { setTimeout as sleep } from 'node:timers/promises'
import { toHostname } from '../records/hostname.ts'

/** What is asked; node:dns/promises fits. @throws errors with Node's DNS codes */
export interface ProofDns {
  resolveTxt(name: string): Promise<readonly (readonly string[])[]>
  resolveCname(name: string): Promise<readonly string[]>
}

export interface WantedProof {
  /** Canonical. */
  readonly hostname: string
  readonly challenge: string
  /** The VM's own host name. */
  readonly target: string
  /** True while a CNAME to it may be another pool's, and proves nothing. */
  readonly isPassedOn: boolean
}

export interface ProofRecord {
  readonly type: 'TXT' | 'CNAME'
  readonly name: string
  readonly value: string
}

export type ProofRecords = readonly [txt: ProofRecord, cname?: ProofRecord]

/** What DNS said; `lastError` has at most 200 characters. */
export type Proof = { readonly provenBy: 'txt' | 'cname' } | { readonly lastError: string }

const LIMIT_MS = 5_000
/** A CNAME may lead to the target by way of one other name. */
const MAX_STEPS = 2
const MAX_SHOWN_CHARACTERS = 60

/** Node's codes: https://nodejs.org/api/dns.html#error-codes */
const REASONS: Readonly<Record<string, string>> = {
  ENOTFOUND: 'there is no such name (NXDOMAIN)',
  ENODATA: 'the name has no such record',
  ESERVFAIL: 'its name servers failed (SERVFAIL)',
  EREFUSED: 'its name servers refused to answer (REFUSED)',
  ETIMEOUT: 'no answer in time',
  ETIME: 'no answer in time',
  EBADNAME: 'DNS cannot have this name',
}

/** Either of them proves the domain. */
export function proofRecords({ hostname, challenge, target, isPassedOn }: WantedProof): ProofRecords {
  const txt = { type: 'TXT', name: challengeName(hostname), value: `landfall=${challenge}` } as const
  return isPassedOn ? [txt] : [txt, { type: 'CNAME', name: hostname, value: target }]
}

/** Asks DNS for both at the same time, until one proves the domain, and for at most five seconds. Never rejects. */
export async function proveDomain(
  dns: ProofDns,
  wanted: WantedProof,
  { limitMs = LIMIT_MS }: { readonly limitMs?: number } = {},
): Promise<Proof> {
  const done = new AbortController()
  const late = sleep(limitMs, TOO_LATE, { signal: done.signal }).catch(() => TOO_LATE)
  const txt = Promise.race([askTxt(dns, wanted), late])
  const cname = Promise.race([askCname(dns, wanted), late])
  const neither = Promise.all([txt, cname]).then(([ofTxt, ofCname]) => ({
    lastError: `TXT: ${ofTxt}. CNAME: ${ofCname}.`,
  }))
  try {
    return await Promise.any([provenBy('txt', txt), provenBy('cname', cname)]).catch(() => neither)
  } finally {
    done.abort()
  }
}

async function provenBy<By extends 'txt' | 'cname'>(by: By, finding: Promise<Finding>) {
  return (await finding) === PROVEN ? { provenBy: by } : Promise.reject(UNPROVEN)
}

/** Proven, or the reason why not. */
type Finding = string
const PROVEN = ''
const UNPROVEN = new Error('DNS does not prove the domain')
const TOO_LATE = REASONS.ETIMEOUT ?? ''
const PASSED_ON = 'no proof for now, since another pool had a VM of this name: set the TXT record'

async function askTxt(dns: ProofDns, { hostname, challenge }: WantedProof): Promise<Finding> {
  try {
    const records = await dns.resolveTxt(challengeName(hostname))
    const isThere = records.some((parts) => parts.join('') === `landfall=${challenge}`)
    return isThere ? PROVEN : 'it has another value'
  } catch (error) {
    return reasonOf(error)
  }
}

async function askCname(dns: ProofDns, { hostname, target, isPassedOn }: WantedProof): Promise<Finding> {
  if (isPassedOn) return PASSED_ON
  let name = hostname
  for (let step = 1; step <= MAX_STEPS; step += 1) {
    try {
      const [next = ''] = await dns.resolveCname(name)
      const canonical = toHostname(next)
      if (canonical === target) return PROVEN
      if (canonical === undefined) return 'it leads to what is no host name'
      name = canonical
    } catch (error) {
      return step === 1 ? reasonOf(error) : elsewhere(name)
    }
  }
  return elsewhere(name)
}

function elsewhere(name: string): Finding {
  const shown = name.length > MAX_SHOWN_CHARACTERS ? `…${name.slice(-MAX_SHOWN_CHARACTERS)}` : name
  return `it leads to "${shown}"`
}

function reasonOf(error: unknown): Finding {
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  return REASONS[code] ?? `DNS cannot be asked (${code || 'no code'})`
}

function challengeName(hostname: string): string {
  return `_landfall-challenge.${hostname}`
}
