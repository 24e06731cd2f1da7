/** `landfall route`: host names and where they lead. */

import { printDeleted, printListing, printRecord, printWritten } from '../answers.ts'
import { type Json, path } from '../api.ts'
import { type Command, command } from '../command.ts'
import { refuseUsage } from '../errors.ts'
import { ADDRESS, HOSTNAME, POOL, PORT, ROUTE, VM } from '../kinds.ts'
import { type Column, plain, textOf } from '../views.ts'

const ROUTE_ARGUMENT = { kind: ROUTE, summary: 'A host name' } as const
const TARGET: Column = { title: 'TARGET', of: formatTarget }
const COLUMNS = [plain('HOSTNAME'), TARGET, plain('VISIBILITY'), plain('STATE'), plain('POOL')]

export const ROUTE_COMMANDS: readonly Command[] = [
  command('route list', {
    summary: 'Lists host names and where they lead',
    options: {
      vm: { kind: VM, summary: 'Only those of this VM' },
      pool: { kind: POOL, summary: 'Only those of this pool' },
    },
    run: (context, { options: { vm, pool } }) =>
      printListing(context, {
        path: '/v1/routes',
        query: { vm, pool },
        plural: 'routes',
        columns: COLUMNS,
        none: 'There are no routes.',
      }),
  }),
  command('route show', {
    summary: 'Shows one route',
    arguments: { hostname: ROUTE_ARGUMENT },
    run: async (context, { args: { hostname } }) => {
      const view = await context.api.call({ method: 'GET', path: path`/v1/routes/${hostname}` })
      return printRecord(context, view, [...COLUMNS, plain('GENERATION'), plain('URL')])
    },
  }),
  command('route set', {
    summary: 'Leads a host name below the platform domain to a VM, or to a bare address',
    arguments: { hostname: { kind: HOSTNAME, summary: 'A host name' } },
    options: {
      vm: { kind: VM, summary: 'The VM that it leads to' },
      port: { kind: PORT, summary: "The VM's port, else its default port" },
      upstream: { kind: ADDRESS, summary: 'The address that it leads to, as 127.0.0.1:9000' },
      public: { summary: 'With --upstream: lets everybody in, without a login' },
      pool: { kind: POOL, summary: 'With --upstream: the pool that it is counted for' },
    },
    examples: ['landfall route set app.example.test --vm web --port 3000'],
    run: async (context, { args: { hostname }, options: { vm, port, upstream, pool, public: isPublic } }) => {
      if ((vm === undefined) === (upstream === undefined))
        refuseUsage('Say where the name leads: either --vm VM or --upstream ADDRESS:PORT.')
      if (upstream !== undefined && port !== undefined) refuseUsage('--port belongs to --vm.')
      if (vm !== undefined && pool !== undefined)
        refuseUsage('--pool belongs to --upstream; a VM has its own.')
      if (vm !== undefined && isPublic)
        refuseUsage('Of a VM the port is public or private: use "landfall port set" with --public.')
      const body = { vm, port, upstream, pool, ...(isPublic && { visibility: 'public' }) }
      const view = await context.api.call({ method: 'PUT', path: path`/v1/routes/${hostname}`, body })
      return printWritten(context, {
        view,
        name: hostname,
        said: `${hostname} leads to ${formatTarget(view)}`,
      })
    },
  }),
  command('route delete', {
    summary: 'Takes a host name away',
    arguments: { hostname: ROUTE_ARGUMENT },
    run: async (context, { args: { hostname } }) => {
      await context.api.call({ method: 'DELETE', path: path`/v1/routes/${hostname}` })
      return printDeleted(context, [hostname])
    },
  }),
]

/** `web:3000`, `web`, or a bare address. */
function formatTarget(view: Json): string {
  const [vm, port] = [textOf(view, 'vm'), textOf(view, 'port')]
  if (vm === '') return textOf(view, 'upstream')
  return port === '' ? vm : `${vm}:${port}`
}
