/** The logins that a browser has under way at one VM host: sealed cookies bind each secret and its way back to it. */

import { randomBytes } from 'node:crypto'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { digestOf, isSameSecret } from '../../lib/digest.ts'
import { FLOW_COOKIE, findCookie, listCookies } from './cookies.ts'
import { addFlowCookie, clearFlowCookie, flowCookieName } from './flow-cookies.ts'
import { hostnameOf } from './request-origin.ts'
import type { SealedTexts } from './sealed-text.ts'

/** One login; several tabs may each have theirs. */
export interface VmFlow {
  /** RFC 7636 section 4.1: the code verifier. */
  readonly secret: string
  readonly to: string
  /** The id of the share link that is being redeemed. */
  readonly link?: string
}

const SECRET_BYTES = 32
const LIFE_MS = 600_000

/** RFC 7636 section 4.2, S256. */
export function toChallenge(secret: string): string {
  return digestOf(secret)
}

/** Begins one more. */
export function addFlow(reply: FastifyReply, flow: Omit<VmFlow, 'secret'>, texts: SealedTexts): VmFlow {
  const added = { secret: randomBytes(SECRET_BYTES).toString('base64url'), ...flow }
  const value = texts.seal(added, purposeOf(reply.request), LIFE_MS)
  const id = toChallenge(added.secret)
  addFlowCookie(reply, { prefix: FLOW_COOKIE, id, value, lifeMs: LIFE_MS })
  return added
}

/** The flow that a code was made for. */
export function findFlow(request: FastifyRequest, challenge: string, texts: SealedTexts): VmFlow | undefined {
  const text = findCookie(request.headers.cookie, flowCookieName(FLOW_COOKIE, challenge))
  const flow = texts.open(text, purposeOf(request)) as VmFlow | undefined
  return flow !== undefined && isSameSecret(toChallenge(flow.secret), challenge) ? flow : undefined
}

/** The one that was begun last, whatever code it waits for. */
export function findLatestFlow(request: FastifyRequest, texts: SealedTexts): VmFlow | undefined {
  const latest = listCookies(request.headers.cookie, `${FLOW_COOKIE}-`).at(-1)
  return texts.open(latest?.value, purposeOf(request)) as VmFlow | undefined
}

export function endFlow(reply: FastifyReply, { secret }: VmFlow): void {
  clearFlowCookie(reply, { prefix: FLOW_COOKIE, id: toChallenge(secret) })
}

function purposeOf({ headers }: FastifyRequest): string {
  return `vm-flow/${hostnameOf(headers.host)}`
}
