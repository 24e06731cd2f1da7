/** How a VM host sends its visitor to the login host, and what it reads of a request for that. */

import type { FastifyReply, FastifyRequest } from 'fastify'
import { leave } from './answers.ts'
import type { LoginContext, LoginRoute } from './context.ts'
import { LoginError } from './errors.ts'
import { checkWholePage, hostnameOf } from './request-origin.ts'
import { addFlow, toChallenge } from './vm-flows.ts'

/** @throws LoginError `login_host_unknown` */
export function getRoute({ headers }: FastifyRequest, { routes }: LoginContext): LoginRoute {
  const route = routes.find(hostnameOf(headers.host))
  if (route === undefined) throw new LoginError('login_host_unknown')
  return route
}

type Query = Readonly<Partial<Record<string, string | string[]>>>

export function findParameter({ query }: FastifyRequest, name: string): string | undefined {
  const value = (query as Query)[name]
  return typeof value === 'string' ? value : undefined
}

export interface LoginStep {
  readonly route: LoginRoute
  readonly to: string
  /** The share link's id, and what the login host is told besides. */
  readonly link?: string
  readonly extra: Readonly<Record<string, string>>
}

/**
 * The host that the login host is asked for is the row's own name: nothing of the request goes into the address.
 * @throws LoginError `login_request_malformed` for a frame, an image or a script: each would leave a cookie behind
 */
export function goToLogin(
  reply: FastifyReply,
  { route, to, link, extra }: LoginStep,
  { texts, urlOf, loginHost }: LoginContext,
): FastifyReply {
  checkWholePage(reply.request)
  const flow = addFlow(reply, { to, ...(link !== undefined && { link }) }, texts)
  const query = { host: route.hostname, challenge: toChallenge(flow.secret), ...extra }
  return leave(reply, `${urlOf(loginHost)}start?${new URLSearchParams(query)}`)
}
