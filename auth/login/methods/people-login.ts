/** For development alone: a page that offers the people of a list, and believes whoever picks one. */

import { escapeHtml } from '../../../lib/html.ts'
import { toEmailAddress, toUserId } from '../../email-address.ts'
import { LoginError } from '../errors.ts'
import { formOf } from '../form.ts'
import type { LoginFlow, LoginMethod, LoginMethodContext } from './login-method.ts'

const FORM_MS = 3_600_000
const PURPOSE = 'flow'

/** `addresses`: in any form; those that cannot be canonical are left out. A person's user id is that of the mail login. */
export function createPeopleLogin(addresses: readonly string[]): LoginMethod {
  const people = addresses
    .map(toEmailAddress)
    .filter((email) => email !== undefined)
    .filter((email) => toUserId(email) !== undefined)
  let added: LoginMethodContext | undefined
  const getContext = () => {
    if (added === undefined) throw new LoginError('login_unconfigured')
    return added
  }
  return {
    name: 'people',
    title: 'Log in as one of the people of this development server',
    add: (context) => {
      added = context
      context.addPath('/people', {
        POST: (request, reply) => {
          context.checkSameOrigin(request)
          const form = formOf(request)
          const flow = context.open(form.get('flow') ?? undefined, PURPOSE) as LoginFlow | undefined
          const email = form.get('email') ?? ''
          const user = people.includes(email) ? toUserId(email) : undefined
          if (flow === undefined || user === undefined) throw new LoginError('login_expired')
          return context.finish(reply, { user, email }, flow)
        },
      })
    },
    begin: (_request, reply, flow) => {
      const sealed = getContext().seal(flow, PURPOSE, FORM_MS)
      return getContext().sendPage(reply, { title: 'Who are you?', body: pageBody(people, sealed) })
    },
  }
}

function pageBody(people: readonly string[], flow: string): string {
  const buttons = people.map((email) => {
    const text = escapeHtml(email)
    return `<button name="email" value="${text}">${text}</button>`
  })
  return `<p>This is a development server: everybody who can reach it can be everybody. Set LANDFALL_OIDC_ISSUER or LANDFALL_SMTP_URL for real logins.</p>
<form method="post" action="/people"><input type="hidden" name="flow" value="${flow}">${buttons.join('')}</form>`
}
