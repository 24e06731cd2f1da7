/** The steps of a check that are read from memory: route, orders, certificates. */

import { DAY_MS, HOUR_MS } from '../../lib/durations.ts'
import { toMoment } from '../../lib/moment.ts'
import { hostOf } from '../ca/ca-url.ts'
import type { CheckStep } from '../checks/checks.ts'
import { MAX_DETAIL_CHARACTERS, toDetail } from '../details.ts'
import { FAULTS } from '../errors.ts'
import type { OrderRow } from '../rows.ts'
import { isCurrent, SKEW_MS } from '../validity.ts'
import { findObstacle, type Target } from './desk-names.ts'
import { type ShownCertificate, toView } from './desk-views.ts'

/** An uploaded certificate that ends so soon is pointed at: nobody renews it here. */
const SOON_MS = 14 * DAY_MS
/** A renewal takes a minute; one that is that late is stuck. */
const USUAL_RENEWAL_MS = HOUR_MS

export function routeStep(hostname: string, { kind }: Target, isServed: boolean): CheckStep {
  if (isServed) return { step: 'route', state: 'right', detail: `Requests for ${hostname} are served here.` }
  if (kind !== 'custom')
    return { step: 'route', state: 'right', detail: `${hostname} belongs to the platform.` }
  return {
    step: 'route',
    state: 'wrong',
    detail: `There is no route for ${hostname}: it was not asked for, or is not proven.`,
    next: `Ask for it with "landfall domain add ${hostname} VM", and set one of the DNS records that it names.`,
  }
}

export const UNMANAGED: CheckStep = {
  step: 'ca',
  state: 'unknown',
  detail: 'No certificate authority is set: certificates are not ordered here.',
  next: 'Clients warn of what is not uploaded. Set LANDFALL_ACME_CAS, or upload a certificate.',
}

export function orderSteps(orders: readonly OrderRow[]): readonly CheckStep[] {
  if (orders.length === 0) return [{ step: 'order', state: 'right', detail: 'No order is under way.' }]
  return orders.map((order) => (order.state === 'failed' ? failedStep(order) : openStep(order)))
}

function failedStep({ keyType, failures, lastError, nextTryAt }: OrderRow): CheckStep {
  const { code = '', detail = '', problemType, step = 'wanted', at = '' } = lastError ?? {}
  const type = problemType === undefined ? '' : `, ${problemType}`
  const again = nextTryAt === undefined ? '' : ` It is tried again at ${nextTryAt}.`
  const count = failures === 0 ? '' : `; ${failures} in a row`
  const said = `The last try (${keyType}) failed at ${at} as ${step}: ${detail} (${code}${type}${count}).`
  return {
    step: 'order',
    state: 'wrong',
    detail: toDetail(said, MAX_DETAIL_CHARACTERS - again.length) + again,
    ...(isCode(code) && { next: FAULTS[code].next }),
  }
}

function openStep({ keyType, state, ca, createdAt }: OrderRow): CheckStep {
  const where = ca === undefined ? '' : ` at ${hostOf(ca)}`
  return {
    step: 'order',
    state: 'waiting',
    detail: `An order (${keyType}) is under way${where} since ${createdAt}: ${state}.`,
    next: 'Wait a minute and check again.',
  }
}

export interface Known {
  readonly target: Target
  readonly found: readonly ShownCertificate[]
  readonly orders: readonly OrderRow[]
  readonly isManaged: boolean
  readonly nowMs: number
}

export function certificateSteps(known: Known): readonly CheckStep[] {
  const { found, nowMs } = known
  return found.length === 0 ? [lackStep(known)] : found.map((one) => foundStep(one, nowMs))
}

function lackStep({ target, orders, isManaged }: Known): CheckStep {
  const { name, kind } = target
  const step = 'certificate'
  if (isManaged && kind === 'deep')
    return {
      step,
      state: 'wrong',
      detail: findObstacle(name, kind) ?? '',
      next: `Upload one: "landfall domain certificate upload ${name}".`,
    }
  if (!isManaged || kind === 'local')
    return {
      step,
      state: 'unknown',
      detail: 'There is none; the edge makes one by itself, which clients do not trust.',
    }
  if (orders.some(({ state }) => state === 'failed'))
    return { step, state: 'wrong', detail: 'There is none: see the order.' }
  if (orders.length > 0 || kind === 'platform')
    return { step, state: 'waiting', detail: 'There is none yet: it is ordered without being asked for.' }
  return {
    step,
    state: 'waiting',
    detail: 'There is none yet: it is ordered at the first visit over HTTPS.',
    next: `Open https://${name}, or run "landfall domain certificate renew ${name}".`,
  }
}

function foundStep({ row, renewal, isLocked = false }: ShownCertificate, nowMs: number): CheckStep {
  const { keyType, notBefore, notAfter, source, issuer } = { ...row, ...toView({ row }) }
  const isEnded = Date.parse(notAfter) <= nowMs
  const isEarly = Date.parse(notBefore) > nowMs + SKEW_MS
  const life = isEarly ? `begins only at ${notBefore}` : `${isEnded ? 'ended' : 'ends'} at ${notAfter}`
  const said = `${keyType} from ${issuer}, ${source === 'upload' ? 'uploaded' : 'ordered'}, ${life}`
  if (isLocked) return lockedStep(row, said)
  if (source === 'upload') return uploadedStep(row, said, nowMs)
  const isLate = renewal !== undefined && renewal.renewAtMs < nowMs - USUAL_RENEWAL_MS
  return {
    step: 'certificate',
    state: isEnded || isEarly ? 'wrong' : isLate ? 'waiting' : 'right',
    detail: toDetail(`${said}${renewalOf(renewal, isLate)}.`),
    ...(isLate && {
      next: `See the order; "landfall domain certificate renew ${row.name}" asks for one at once.`,
    }),
  }
}

function lockedStep({ name, source }: ShownCertificate['row'], said: string): CheckStep {
  const renew =
    source === 'upload' ? 'Upload it once more' : `Run "landfall domain certificate renew ${name}"`
  return {
    step: 'certificate',
    state: 'wrong',
    detail: toDetail(`${said}; its key cannot be opened with the secret keys of this edge.`),
    next: `${renew}, or have the operator put the secret key that it was sealed with into LANDFALL_SECRET_KEY_FILE again.`,
  }
}

/** RFC 9773: the window is the CA's word, the moment is drawn from it. */
function renewalOf(renewal: ShownCertificate['renewal'], isLate: boolean): string {
  if (renewal === undefined) return ''
  const { renewAtMs, windowStartMs, windowEndMs, reason } = renewal
  const hasWindow = windowStartMs !== undefined && windowEndMs !== undefined
  const window = hasWindow
    ? ` (the CA wants it from ${toMoment(windowStartMs)} to ${toMoment(windowEndMs)})`
    : ''
  const when = `${isLate ? 'was to be renewed' : 'renewed'} at ${toMoment(renewAtMs)}`
  return `, ${when}${window}${reason === undefined ? '' : `, because: ${reason}`}`
}

function uploadedStep(
  { name, notBefore, notAfter }: ShownCertificate['row'],
  said: string,
  nowMs: number,
): CheckStep {
  const notAfterMs = Date.parse(notAfter)
  const leftMs = notAfterMs - nowMs
  const isGood = isCurrent({ notBeforeMs: Date.parse(notBefore), notAfterMs }, nowMs)
  return {
    step: 'certificate',
    state: isGood ? (leftMs < SOON_MS ? 'waiting' : 'right') : 'wrong',
    detail: toDetail(`${said}; nobody renews it here.`),
    ...(leftMs < SOON_MS && {
      next: `Upload the next one: "landfall domain certificate upload ${name}". Or remove it, and one is ordered.`,
    }),
  }
}

function isCode(code: string): code is keyof typeof FAULTS {
  return Object.hasOwn(FAULTS, code)
}
