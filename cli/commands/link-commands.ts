/** `landfall link`: URLs that let whoever has them into a VM. */

import { printDeleted, printListing, printRecord, printWritten } from '../answers.ts'
import { path } from '../api.ts'
import { type Command, command } from '../command.ts'
import { EXPIRY, HOSTNAME, ID, PORT, TEXT } from '../kinds.ts'
import { age, type Column, end, joined, plain, textOf } from '../views.ts'
import { toAudience } from './audience.ts'
import { VM_ARGUMENT } from './vm-commands.ts'

const ID_ARGUMENT = { kind: ID, summary: 'The id that "link list" shows' } as const
const LIFE_MS = 7 * 86_400_000
const PORTS = joined('PORTS', 'ports', 'default')
const LOGIN: Column = { title: 'LOGIN', of: ({ needsLogin }) => (needsLogin === false ? 'no' : 'yes') }
const ONCE: Column = { title: 'ONCE', of: ({ isSingleUse }) => (isSingleUse === true ? 'yes' : 'no') }

export const LINK_COMMANDS: readonly Command[] = [
  command('link make', {
    summary: 'Makes a URL that lets whoever opens it into a VM, and prints it, this once',
    details:
      'Who opens it logs in first and is let in under that name from then on, until the link ends. With --no-login whoever\n' +
      'has the URL is in, and nobody knows who it is. Take care where you write such a URL down.',
    arguments: { vm: VM_ARGUMENT },
    options: {
      expires: { kind: EXPIRY, summary: 'When it ends, as 12h or a moment; 7d unless given' },
      port: { kind: PORT, summary: 'A port that it is for, else the default port', isRepeated: true },
      'no-login': { summary: 'Lets people in without a login' },
      once: { summary: 'Lets in the first who opens it, and nobody after' },
      label: { kind: TEXT, summary: 'Whom it is for' },
      host: { kind: HOSTNAME, summary: "The one host name of the VM that it is for, else the VM's own" },
    },
    examples: ['landfall link make web --expires 3d --once --label "for Ann"'],
    run: async (context, { args: { vm }, options }) => {
      const { expires, port, 'no-login': noLogin, once, label, host } = options
      const expiresAt = expires ?? new Date(context.now().getTime() + LIFE_MS).toISOString()
      const body = {
        expiresAt,
        needsLogin: noLogin !== true,
        isSingleUse: once === true,
        ...toAudience({ host, ports: port }),
        ...(label !== undefined && { label }),
      }
      const view = await context.api.call({ method: 'POST', path: path`/v1/vms/${vm}/links`, body })
      const whom = noLogin ? 'whoever has the URL' : 'whoever has the URL and logs in'
      const said = `link ${textOf(view, 'id')} lets ${whom} into ${vm} until ${expiresAt}; it is not shown again`
      return printWritten(context, { view, name: textOf(view, 'url'), said })
    },
  }),
  command('link list', {
    summary: 'Lists the share links of a VM, without their URLs',
    arguments: { vm: VM_ARGUMENT },
    run: (context, { args: { vm } }) =>
      printListing(context, {
        path: path`/v1/vms/${vm}/links`,
        plural: 'links',
        columns: [
          plain('ID'),
          plain('LABEL'),
          PORTS,
          LOGIN,
          ONCE,
          plain('USES'),
          end(context.now()),
          age('AGE', 'createdAt', context.now()),
        ],
        none: `There are no links into ${vm}. "landfall link make ${vm}" makes one.`,
      }),
  }),
  command('link show', {
    summary: 'Shows one share link, without its URL',
    arguments: { vm: VM_ARGUMENT, id: ID_ARGUMENT },
    run: async (context, { args: { vm, id } }) => {
      const view = await context.api.call({ method: 'GET', path: path`/v1/vms/${vm}/links/${id}` })
      return printRecord(context, view, [
        plain('ID'),
        plain('LABEL'),
        plain('HOST', 'hostname'),
        PORTS,
        LOGIN,
        ONCE,
        plain('USES'),
        plain('CLOSED', 'closedAt'),
        end(context.now()),
        plain('CREATED', 'createdAt'),
        plain('CREATED BY', 'createdBy'),
      ])
    },
  }),
  command('link delete', {
    summary: 'Ends a share link; whom it has let in stays, unless --end-access is given',
    arguments: { vm: VM_ARGUMENT, id: ID_ARGUMENT },
    options: { 'end-access': { summary: 'Turns out whom it has let in as well, open streams included' } },
    run: async (context, { args: { vm, id }, options: { 'end-access': endAccess } }) => {
      const query = endAccess ? { access: 'end' } : {}
      await context.api.call({ method: 'DELETE', path: path`/v1/vms/${vm}/links/${id}`, query })
      return printDeleted(context, [id])
    },
  }),
]
