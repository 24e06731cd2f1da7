/** Hands each way to log in what it may use of the service. */

import type { FastifyReply } from 'fastify'
import { LandfallError } from '../../../lib/errors.ts'
import { ActionableError, type AddPath, leave, sendPage } from '../answers.ts'
import type { LoginContext } from '../context.ts'
import { findCookie, toSetCookie } from '../cookies.ts'
import { LoginError } from '../errors.ts'
import { goOn } from '../login-host.ts'
import type { Person } from '../login-store.ts'
import { checkSameOrigin } from '../request-origin.ts'
import { startSession } from '../sessions.ts'
import type { LoginFlow, LoginHandler, LoginMethod, LoginMethodContext } from './login-method.ts'

export async function addMethods(addPath: AddPath, context: LoginContext): Promise<void> {
  for (const method of context.methods) await method.add(createMethodContext(addPath, method, context))
}

function createMethodContext(
  addPath: AddPath,
  { name }: LoginMethod,
  context: LoginContext,
): LoginMethodContext {
  const { texts, urlOf, loginHost } = context
  const boundTo = (purpose: string) => `method/${name}/${purpose}`
  return {
    origin: () => urlOf(loginHost).replace(/\/$/, ''),
    addPath: (url, { GET, POST }) =>
      addPath(url, {
        ...(GET && { GET: withStart(GET) }),
        ...(POST && { POST: withStart(POST) }),
      }),
    sendPage,
    leave,
    seal: (value, purpose, lifeMs) => texts.seal(value, boundTo(purpose), lifeMs),
    open: (text, purpose) => texts.open(text, boundTo(purpose)),
    findCookie: ({ headers }, cookie) => findCookie(headers.cookie, cookie),
    setCookie: (reply, cookie) => {
      reply.header('set-cookie', toSetCookie(cookie))
    },
    checkSameOrigin,
    spend: ({ ip }) => context.limits.spendProvider(ip),
    withWayBack: (error, { hostname }) => leadingTo(urlOf(hostname ?? loginHost), error),
    finish: async (reply: FastifyReply, person: Person, flow: LoginFlow) => {
      checkUserId(person.user)
      const session = await startSession(reply, { person, method: name }, context)
      return goOn(reply, { session, flow }, context)
    },
  }
}

/** Whatever a step refuses, the page about it leads back to the beginning. */
function withStart(handler: LoginHandler): LoginHandler {
  return async (request, reply) => {
    try {
      return await handler(request, reply)
    } catch (error) {
      throw error instanceof LandfallError ? leadingTo('/', error) : error
    }
  }
}

function leadingTo(href: string, error: LandfallError): ActionableError {
  return new ActionableError(error, [{ href, text: 'Start again' }])
}

/** Of a cookie's `sub` these name other kinds than people. */
const OTHER_KINDS = /^(?:link|token|api):/
const USER_ID = /^[!-~]{1,254}$/

/** A provider says who somebody is; it must not say what they are. @throws LoginError `login_person_unfit` */
function checkUserId(user: string): void {
  if (!USER_ID.test(user) || OTHER_KINDS.test(user)) throw new LoginError('login_person_unfit')
}
