/** `landfall port`: who may reach which port of a VM. */

import { printDeleted, printListing, printWritten } from '../answers.ts'
import { path } from '../api.ts'
import { type Command, command } from '../command.ts'
import { refuseUsage } from '../errors.ts'
import { AUTHORIZATION, PORT, VM } from '../kinds.ts'
import { plain, textOf } from '../views.ts'

const VM_ARGUMENT = { kind: VM, summary: "The VM's name" } as const
const PORT_ARGUMENT = { kind: PORT, summary: 'A port of the VM' } as const

export const PORT_COMMANDS: readonly Command[] = [
  command('port list', {
    summary: 'Lists the ports of a VM',
    arguments: { vm: VM_ARGUMENT },
    run: (context, { args: { vm } }) =>
      printListing(context, {
        path: path`/v1/vms/${vm}/ports`,
        plural: 'ports',
        columns: [
          plain('PORT'),
          plain('VISIBILITY'),
          { title: 'DEFAULT', of: ({ isDefault }) => (isDefault === true ? 'yes' : '') },
          { title: 'AUTHORIZATION', of: (view) => textOf(view, 'authorization') || 'edge' },
          { title: 'OPEN', of: ({ isOpen }) => (isOpen === true ? 'yes' : 'no') },
          plain('URL'),
        ],
        none: `${vm} has no ports yet.`,
      }),
  }),
  command('port set', {
    summary: 'Makes a port public or private, and with --default what the bare name leads to',
    arguments: { vm: VM_ARGUMENT, port: PORT_ARGUMENT },
    options: {
      public: { summary: 'Lets everybody in, without a login' },
      private: { summary: 'Asks for a login' },
      default: { summary: "Makes the VM's URL lead to this port" },
      authorization: {
        kind: AUTHORIZATION,
        summary:
          'Who reads the field Authorization on a private port: the app itself, or the edge, as unless given',
      },
    },
    examples: ['landfall port set web 3000 --public --default'],
    run: async (context, { args: { vm, port }, options }) => {
      const address = path`/v1/vms/${vm}/ports/${port}`
      if (options.public === options.private)
        refuseUsage('Say who may reach the port: either --public or --private.')
      const visibility = options.public ? 'public' : 'private'
      const body = {
        visibility,
        ...(options.default && { isDefault: true }),
        ...toAuthorization(options.authorization),
      }
      const view = await context.api.call({ method: 'PUT', path: address, body })
      const reader = options.authorization === 'app' ? ', and its app reads Authorization itself' : ''
      const said = `port ${port} of ${vm} is ${visibility}${reader}`
      return printWritten(context, { view, name: textOf(view, 'url') || String(port), said })
    },
  }),
  command('port delete', {
    summary: 'Takes the address of a port away',
    arguments: { vm: VM_ARGUMENT, port: PORT_ARGUMENT },
    run: async (context, { args: { vm, port } }) => {
      await context.api.call({ method: 'DELETE', path: path`/v1/vms/${vm}/ports/${port}` })
      return printDeleted(context, [`${vm}:${port}`])
    },
  }),
]

/** The edge is what stands there when nothing does. */
function toAuthorization(who: string | undefined) {
  return who === 'app' ? { authorization: who } : {}
}
