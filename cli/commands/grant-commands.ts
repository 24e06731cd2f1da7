/** `landfall grant`: who else may reach a VM. */

import { printDeleted, printListing, printWritten } from '../answers.ts'
import { type Json, path } from '../api.ts'
import { type Command, command } from '../command.ts'
import { EXPIRY, GRANTEE, ID, PORT, ROLE, TEXT, VM } from '../kinds.ts'
import { end, formatGrantee, joined, plain, textOf } from '../views.ts'

const VM_ARGUMENT = { kind: VM, summary: "The VM's name" } as const

export const GRANT_COMMANDS: readonly Command[] = [
  command('grant list', {
    summary: 'Lists who else may reach a VM',
    arguments: { vm: VM_ARGUMENT },
    run: (context, { args: { vm } }) =>
      printListing(context, {
        path: path`/v1/vms/${vm}/grants`,
        plural: 'grants',
        columns: [
          plain('ID'),
          { title: 'WHOM', of: formatGrantee },
          plain('ROLE'),
          joined('PORTS', 'ports', 'default'),
          { title: 'KIND', of: formatKind },
          end(context.now()),
          plain('LABEL'),
        ],
        none: `Nobody else may reach ${vm}.`,
      }),
  }),
  command('grant add', {
    summary: 'Lets somebody in, and prints the id of the grant',
    arguments: {
      vm: VM_ARGUMENT,
      whom: { kind: GRANTEE, summary: 'ann@example.org, @example.org, or user:ID, token:ID, vm:NAME' },
    },
    options: {
      port: { kind: PORT, summary: 'A port that it counts for, else the default port', isRepeated: true },
      role: { kind: ROLE, summary: 'viewer: the web; root: SSH as well; viewer unless given' },
      expires: { kind: EXPIRY, summary: 'When it ends, as 7d or a moment' },
      label: { kind: TEXT, summary: 'What it is for' },
    },
    examples: ['landfall grant add web ann@example.org --port 3000 --expires 7d'],
    run: async (context, { args: { vm, whom }, options: { port, role = 'viewer', expires, label } }) => {
      const body = {
        to: whom,
        role,
        ...(port !== undefined && { ports: port }),
        ...(expires !== undefined && { expiresAt: expires }),
        ...(label !== undefined && { label }),
      }
      const view = await context.api.call({ method: 'POST', path: path`/v1/vms/${vm}/grants`, body })
      const end = expires === undefined ? '' : ` until ${expires}`
      const said = `${formatGrantee(view)} may reach ${vm} as ${role}${end}`
      return printWritten(context, { view, name: textOf(view, 'id'), said })
    },
  }),
  command('grant delete', {
    summary: 'Ends a grant',
    arguments: { vm: VM_ARGUMENT, id: { kind: ID, summary: 'The id that "grant list" shows' } },
    run: async (context, { args: { vm, id } }) => {
      await context.api.call({ method: 'DELETE', path: path`/v1/vms/${vm}/grants/${id}` })
      return printDeleted(context, [id])
    },
  }),
]

/** What made it: `grant add`, `vm-token make`, `link make`, or somebody who opened a link. */
function formatKind({ token, link, via }: Json): string {
  if (token !== undefined) return 'vm-token'
  if (link !== undefined) return textOf({ link }, 'link.closedAt') === '' ? 'link' : 'closed link'
  return via === undefined ? 'grant' : `by link ${String(via)}`
}
