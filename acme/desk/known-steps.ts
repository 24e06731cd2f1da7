/** The steps of a check that are read from memory: route, orders, certificates. */

import { toMoment } from '../../lib/moment.ts'
import { toShown } from '../../lib/shown-text.ts'
import { hostOf } from '../ca/ca-url.ts'
import type { CheckStep } from '../checks/checks.ts'
import { FAULTS } from '../errors.ts'
import type { OrderRow } from '../rows.ts'
import { isCurrent, SKEW_MS } from '../validity.ts'
import { findObstacle, type Target } from './desk-names.ts'
import { type Found, toView } from './desk-views.ts'

const MAX_DETAIL_CHARACTERS = 500
/** An uploaded certificate that ends so soon is pointed at: nobody renews it here. */
const SOON_MS = 14 * 86_400_000

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
    detail: cut(said, MAX_DETAIL_CHARACTERS - again.length) + again,
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

export interface Shown {
  readonly target: Target
  readonly found: readonly Found[]
  readonly orders: readonly OrderRow[]
  readonly isManaged: boolean
  readonly nowMs: number
}

export function certificateSteps(shown: Shown): readonly CheckStep[] {
  const { found, nowMs } = shown
  return found.length === 0 ? [lackStep(shown)] : found.map((one) => foundStep(one, nowMs))
}

function lackStep({ target, orders, isManaged }: Shown): CheckStep {
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

function foundStep({ row, renewal }: Found, nowMs: number): CheckStep {
  const { keyType, notBefore, notAfter, source, issuer } = { ...row, ...toView({ row }) }
  const isEnded = Date.parse(notAfter) <= nowMs
  const isEarly = Date.parse(notBefore) > nowMs + SKEW_MS
  const life = isEarly ? `begins only at ${notBefore}` : `${isEnded ? 'ended' : 'ends'} at ${notAfter}`
  const said = `${keyType} from ${issuer}, ${source === 'upload' ? 'uploaded' : 'ordered'}, ${life}`
  if (source === 'upload') return uploadedStep(row, said, nowMs)
  return {
    step: 'certificate',
    state: isEnded || isEarly ? 'wrong' : 'right',
    detail: cut(`${said}${renewalOf(renewal)}.`, MAX_DETAIL_CHARACTERS),
  }
}

/** RFC 9773: the window is the CA's word, the moment is drawn from it. */
function renewalOf(renewal: Found['renewal']): string {
  if (renewal === undefined) return ''
  const { renewAtMs, windowStartMs, windowEndMs, reason } = renewal
  const hasWindow = windowStartMs !== undefined && windowEndMs !== undefined
  const window = hasWindow
    ? ` (the CA wants it from ${toMoment(windowStartMs)} to ${toMoment(windowEndMs)})`
    : ''
  return `, renewed at ${toMoment(renewAtMs)}${window}${reason === undefined ? '' : `, because: ${reason}`}`
}

function uploadedStep({ name, notBefore, notAfter }: Found['row'], said: string, nowMs: number): CheckStep {
  const notAfterMs = Date.parse(notAfter)
  const leftMs = notAfterMs - nowMs
  const isGood = isCurrent({ notBeforeMs: Date.parse(notBefore), notAfterMs }, nowMs)
  return {
    step: 'certificate',
    state: isGood ? (leftMs < SOON_MS ? 'waiting' : 'right') : 'wrong',
    detail: cut(`${said}; nobody renews it here.`, MAX_DETAIL_CHARACTERS),
    ...(leftMs < SOON_MS && {
      next: `Upload the next one: "landfall domain certificate upload ${name}". Or remove it, and one is ordered.`,
    }),
  }
}

export function cut(text: string, maxCharacters = MAX_DETAIL_CHARACTERS): string {
  return toShown(text, maxCharacters)
}

function isCode(code: string): code is keyof typeof FAULTS {
  return Object.hasOwn(FAULTS, code)
}
