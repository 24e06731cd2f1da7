/** One cookie for each login that a browser has under way, so that answers that come at once do not undo each other's. */

import type { FastifyReply } from 'fastify'
import { listCookies, toSetCookie } from './cookies.ts'

const ID_LENGTH = 8
const MAX_COOKIES = 8
/** A request's head has 32 KiB by default, and the app's own cookies have to fit in as well. */
const MAX_BYTES = 8_192
/** Of what a browser should never have had. */
const MAX_CLEARED = 32

export interface FlowCookie {
  /** What a login's cookies begin with. */
  readonly prefix: string
  /** base64url; where the login's answer names the cookie. */
  readonly id: string
  readonly value: string
  readonly lifeMs: number
}

export function flowCookieName(prefix: string, id: string): string {
  return `${prefix}-${id.slice(0, ID_LENGTH)}`
}

/** The oldest ones give way when there are too many. */
export function addFlowCookie(reply: FastifyReply, { prefix, id, value, lifeMs }: FlowCookie): void {
  const room = MAX_BYTES - value.length
  for (const name of listExcess(reply.request.headers.cookie, { prefix, room })) clearCookie(reply, name)
  reply.header('set-cookie', toSetCookie({ name: flowCookieName(prefix, id), value, lifeMs }))
}

export function clearFlowCookie(
  reply: FastifyReply,
  { prefix, id }: Pick<FlowCookie, 'prefix' | 'id'>,
): void {
  clearCookie(reply, flowCookieName(prefix, id))
}

function clearCookie(reply: FastifyReply, name: string): void {
  reply.header('set-cookie', toSetCookie({ name, value: '', lifeMs: 0 }))
}

/** The names of those that leave no place for one more, from the newest back. */
function listExcess(
  header: string | undefined,
  { prefix, room }: { readonly prefix: string; readonly room: number },
): string[] {
  let left = room
  const present = listCookies(header, `${prefix}-`).toReversed()
  const excess = present.filter(({ value }, at) => {
    left -= value.length
    return at >= MAX_COOKIES - 1 || left < 0
  })
  return [...new Set(excess.map(({ name }) => name))].slice(-MAX_CLEARED)
}
