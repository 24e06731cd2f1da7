/** `landfall session` and `landfall user`: who is logged in with a browser, and the end of that. */

import { printListing } from '../answers.ts'
import { type Json, path } from '../api.ts'
import { type Command, command } from '../command.ts'
import { SESSION_ID, USER } from '../kinds.ts'
import { harmless } from '../text-table.ts'
import { age, plain, textOf } from '../views.ts'

export const SESSION_COMMANDS: readonly Command[] = [
  command('session list', {
    summary: 'Lists who is logged in with a browser',
    options: { user: { kind: USER, summary: 'Only those of this user' } },
    run: (context, { options: { user } }) =>
      printListing(context, {
        path: '/v1/sessions',
        query: { user },
        plural: 'sessions',
        columns: [
          plain('ID'),
          plain('USER'),
          plain('EMAIL'),
          plain('METHOD'),
          plain('EXPIRES', 'expiresAt'),
          age('AGE', 'createdAt', context.now()),
        ],
        none: 'Nobody is logged in.',
      }),
  }),
  command('session end', {
    summary: 'Ends a login, on every VM and with its open streams',
    arguments: { id: { kind: SESSION_ID, summary: 'The id that "session list" shows' } },
    run: async (context, { args: { id } }) => {
      await context.api.call({ method: 'DELETE', path: path`/v1/sessions/${id}` })
      if (context.isJson) return context.output.printJson({ ended: [id] })
      return context.output.say(`ended ${harmless(id)}`)
    },
  }),
  command('user end', {
    summary: 'Ends every login, cookie and signed token of a user, with their open streams',
    details:
      'Whoever can log in comes again, and who has an SSH key may have signed tokens that are dated ahead: --keys deletes\n' +
      'the keys as well. Grants stay.',
    arguments: { user: { kind: USER, summary: 'The id that "session list" shows as user' } },
    options: { keys: { summary: "Deletes the user's SSH keys as well, and so all that they signed" } },
    run: async (context, { args: { user }, options: { keys } }) => {
      const query = keys ? { keys: 'delete' } : {}
      const target = path`/v1/users/${user}/sessions`
      const ended = await context.api.call({ method: 'DELETE', path: target, query })
      if (context.isJson) return context.output.printJson(ended)
      return context.output.say(harmless(describeEnd(ended, user)))
    },
  }),
]

function describeEnd(view: Json, user: string): string {
  const [sessions = 0, kept = 0, deleted = 0] = ['sessions', 'keys', 'deletedKeys'].map((name) =>
    Number(textOf(view, name)),
  )
  if (sessions + kept + deleted === 0) {
    return `nobody called ${user} has a login or an SSH key; all that was issued to that name so far is void`
  }
  const start = `ended every login of ${user}`
  if (deleted > 0) return `${start}, and deleted ${keysOf(deleted)} of theirs`
  if (kept === 0) return start
  return `${start}; ${keysOf(kept)} of theirs ${kept === 1 ? 'stays: --keys removes it' : 'stay: --keys removes them'} too`
}

function keysOf(count: number): string {
  return count === 1 ? '1 SSH key' : `${count} SSH keys`
}
