/** `landfall host` and `landfall edge`: the processes of a fleet. */

import { printDeleted, printListing, printRecord } from '../answers.ts'
import { type Json, path } from '../api.ts'
import { type Command, type CommandContext, command } from '../command.ts'
import { EDGE, HOST } from '../kinds.ts'
import { age, type Column, cpus, plain, size } from '../views.ts'

const HOST_ARGUMENT = { kind: HOST, summary: "The host's name" } as const
const EDGE_ARGUMENT = { kind: EDGE, summary: "The edge's name" } as const
const SIZES = [cpus('CPUS', 'cpuMillis'), size('MEMORY', 'memoryBytes'), size('DISK', 'diskBytes')]
const IMAGES: Column = {
  title: 'IMAGES',
  of: ({ images }) => (Array.isArray(images) ? images.join(', ') : ''),
}
const ALIVE: Column = { title: 'ALIVE', of: ({ isAlive }) => (isAlive === true ? 'yes' : 'no') }

export const MACHINE_COMMANDS: readonly Command[] = [
  command('host list', {
    summary: 'Lists the hosts',
    run: (context) => printMachines(context, { path: '/v1/hosts', plural: 'hosts', own: SIZES }),
  }),
  command('host show', {
    summary: 'Shows one host',
    arguments: { host: HOST_ARGUMENT },
    run: async (context, { args: { host } }) => {
      const view = await context.api.call({ method: 'GET', path: path`/v1/hosts/${host}` })
      return printMachine(context, view, [...SIZES, IMAGES])
    },
  }),
  command('host delete', {
    summary: 'Forgets a host that is gone',
    arguments: { host: HOST_ARGUMENT },
    run: async (context, { args: { host } }) => {
      await context.api.call({ method: 'DELETE', path: path`/v1/hosts/${host}` })
      return printDeleted(context, [host])
    },
  }),
  command('edge list', {
    summary: 'Lists the edges',
    run: (context) => printMachines(context, { path: '/v1/edges', plural: 'edges', own: [] }),
  }),
  command('edge show', {
    summary: 'Shows one edge',
    arguments: { edge: EDGE_ARGUMENT },
    run: async (context, { args: { edge } }) => {
      const view = await context.api.call({ method: 'GET', path: path`/v1/edges/${edge}` })
      return printMachine(context, view, [])
    },
  }),
  command('edge delete', {
    summary: 'Forgets an edge that is gone',
    arguments: { edge: EDGE_ARGUMENT },
    run: async (context, { args: { edge } }) => {
      await context.api.call({ method: 'DELETE', path: path`/v1/edges/${edge}` })
      return printDeleted(context, [edge])
    },
  }),
]

interface Machines {
  readonly path: string
  readonly plural: string
  /** Columns that only this kind of machine has. */
  readonly own: readonly Column[]
}

function printMachines(context: CommandContext, { path, plural, own }: Machines): Promise<void> {
  const up = age('UP', 'startedAt', context.now())
  const columns = [plain('NAME'), ALIVE, ...own, plain('VERSION'), up]
  return printListing(context, { path, plural, columns, none: `There are no ${plural}.` })
}

function printMachine(context: CommandContext, view: Json, own: readonly Column[]): Promise<void> {
  const since = [plain('STARTED', 'startedAt'), plain('LEASE ENDS', 'leaseExpiresAt')]
  return printRecord(context, view, [plain('NAME'), ALIVE, ...own, plain('VERSION'), ...since])
}
