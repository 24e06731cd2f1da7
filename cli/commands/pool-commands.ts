/** `landfall pool`: what is bought. */

import { printDeleted, printListing, printRecord, printWritten } from '../answers.ts'
import { type Json, path } from '../api.ts'
import { type Command, type CommandContext, command } from '../command.ts'
import { refuseUsage } from '../errors.ts'
import { CPUS, HOST, NEW_NAME, POOL, SINCE, SIZE, USER } from '../kinds.ts'
import { formatCpus, formatSize } from '../units.ts'
import { age, cpus, plain, size, textOf } from '../views.ts'
import { printUsage } from './usage-table.ts'

const POOL_ARGUMENT = { kind: POOL, summary: "The pool's name" } as const
const NEW_POOL = { kind: NEW_NAME, summary: 'One DNS label in lower case' } as const

const SIZES = {
  cpus: { kind: CPUS, summary: 'CPUs, as 2, 1.5 or 500m' },
  memory: { kind: SIZE, summary: 'Memory, as 512M or 8G' },
  disk: { kind: SIZE, summary: 'Disk, as 100G' },
  io: { kind: SIZE, summary: 'Bytes a second that its disks may read, and write, as 100M; else any number' },
  owner: { kind: USER, summary: 'The user whose SSH keys open its VMs' },
  host: { kind: HOST, summary: 'The host to place it on, else the one with the most room' },
} as const

const USAGE_OPTIONS = {
  from: { kind: SINCE, summary: 'The first moment, else the first of this month in UTC' },
  to: { kind: SINCE, summary: 'The last moment, else now' },
} as const

export const POOL_COMMANDS: readonly Command[] = [
  command('pool list', {
    summary: 'Lists the pools',
    run: (context) =>
      printListing(context, {
        path: '/v1/pools',
        plural: 'pools',
        columns: [
          plain('NAME'),
          cpus('CPUS', 'cpuMillis'),
          size('MEMORY', 'memoryBytes'),
          size('DISK', 'diskBytes'),
          plain('HOST'),
          age('AGE', 'createdAt', context.now()),
        ],
        none: 'There are no pools. "landfall pool new NAME --cpus 2 --memory 4G --disk 20G" makes one.',
      }),
  }),
  command('pool show', {
    summary: 'Shows one pool',
    arguments: { pool: POOL_ARGUMENT },
    run: async (context, { args: { pool } }) => {
      const view = await context.api.call({ method: 'GET', path: path`/v1/pools/${pool}` })
      const columns = [cpus('CPUS', 'cpuMillis'), size('MEMORY', 'memoryBytes'), size('DISK', 'diskBytes')]
      return printRecord(context, view, [
        plain('NAME'),
        ...columns,
        size('IO', 'ioBytesPerSecond'),
        plain('OWNER'),
        plain('HOST'),
        plain('CREATED', 'createdAt'),
      ])
    },
  }),
  command('pool new', {
    summary: 'Buys a pool',
    arguments: { pool: NEW_POOL },
    options: {
      ...SIZES,
      cpus: { ...SIZES.cpus, isRequired: true },
      memory: { ...SIZES.memory, isRequired: true },
      disk: { ...SIZES.disk, isRequired: true },
    },
    examples: ['landfall pool new web --cpus 4 --memory 8G --disk 100G'],
    run: (context, { args: { pool }, options }) =>
      putPool(context, pool, { isNew: true, body: toBody(options) }),
  }),
  command('pool set', {
    summary: "Changes a pool's size or place; what is not named stays",
    arguments: { pool: POOL_ARGUMENT },
    options: SIZES,
    examples: ['landfall pool set web --memory 16G'],
    run: async (context, { args: { pool }, options }) => {
      const wanted = toBody(options)
      if (Object.keys(wanted).length === 0) refuseUsage('Name what to change, as --memory or --host.')
      const view = await context.api.call({ method: 'GET', path: path`/v1/pools/${pool}` })
      const { cpuMillis, memoryBytes, diskBytes, ioBytesPerSecond, owner, host } = view
      const body = { cpuMillis, memoryBytes, diskBytes, ioBytesPerSecond, owner, host, ...wanted }
      return putPool(context, pool, { revision: Number(view.revision), body })
    },
  }),
  command('pool delete', {
    summary: 'Gives a pool back; it must hold no VM',
    arguments: { pool: POOL_ARGUMENT },
    run: async (context, { args: { pool } }) => {
      await context.api.call({ method: 'DELETE', path: path`/v1/pools/${pool}` })
      return printDeleted(context, [pool])
    },
  }),
  command('pool usage', {
    summary: 'Says what a pool used',
    arguments: { pool: POOL_ARGUMENT },
    options: USAGE_OPTIONS,
    run: (context, { args: { pool }, options }) => printUsage(context, { pool, ...options }),
  }),
  command('usage', {
    summary: 'Says what a pool used; the same as "pool usage"',
    arguments: { pool: POOL_ARGUMENT },
    options: USAGE_OPTIONS,
    examples: ['landfall usage web --from 7d'],
    run: (context, { args: { pool }, options }) => printUsage(context, { pool, ...options }),
  }),
]

interface Sizes {
  readonly cpus: number | undefined
  readonly memory: number | undefined
  readonly disk: number | undefined
  readonly io: number | undefined
  readonly owner: string | undefined
  readonly host: string | undefined
}

function toBody({ cpus, memory, disk, io, owner, host }: Sizes) {
  return {
    ...(cpus !== undefined && { cpuMillis: cpus }),
    ...(memory !== undefined && { memoryBytes: memory }),
    ...(disk !== undefined && { diskBytes: disk }),
    ...(io !== undefined && { ioBytesPerSecond: io }),
    ...(owner !== undefined && { owner }),
    ...(host !== undefined && { host }),
  }
}

async function putPool(
  context: CommandContext,
  pool: string,
  write: { readonly isNew?: true; readonly revision?: number; readonly body: object },
): Promise<void> {
  const view = await context.api.call({ method: 'PUT', path: path`/v1/pools/${pool}`, ...write })
  return printWritten(context, { view, name: pool, said: describe(view) })
}

function describe(view: Json): string {
  const [cpuMillis, memory, disk] = ['cpuMillis', 'memoryBytes', 'diskBytes'].map((name) =>
    Number(view[name]),
  )
  const amounts = `${formatCpus(cpuMillis ?? 0)} CPUs, ${formatSize(memory ?? 0)}, disk ${formatSize(disk ?? 0)}`
  return `pool ${textOf(view, 'name')}: ${amounts}, on host ${textOf(view, 'host')}`
}
