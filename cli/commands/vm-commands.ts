/** `landfall vm`: the VMs of the pools. */

import { printDeleted, printListing, printRecord, printWritten } from '../answers.ts'
import { type Json, path } from '../api.ts'
import { type Command, type CommandContext, command } from '../command.ts'
import { refuseUsage } from '../errors.ts'
import { IMAGE, NEW_NAME, POOL, PORT, TEXT, VM, WAIT } from '../kinds.ts'
import { age, type Column, plain, textOf } from '../views.ts'
import { newVm } from './new-vm.ts'
import { callVm, changeVm, stateOf, type VmWrite } from './vm-puts.ts'
import { SHAPE_LINES, SHAPE_OPTIONS, toShape } from './vm-shape.ts'

export const VM_ARGUMENT = { kind: VM, summary: "The VM's name" } as const
export const WAIT_OPTION = {
  kind: WAIT,
  summary: 'How long to wait, as 90s or 5m; 2m unless given',
} as const
const STATE: Column = { title: 'STATE', of: stateOf }
export const DEFAULT_WAIT_MS = 120_000

export const VM_COMMANDS: readonly Command[] = [
  command('vm list', {
    summary: 'Lists the VMs',
    options: { pool: { kind: POOL, summary: 'Only those of this pool' } },
    run: (context, { options: { pool } }) =>
      printListing(context, {
        path: '/v1/vms',
        query: { pool },
        plural: 'vms',
        columns: [
          plain('NAME'),
          STATE,
          plain('POOL'),
          plain('IMAGE'),
          plain('URL'),
          age('AGE', 'createdAt', context.now()),
          plain('COMMENT'),
        ],
        none: 'There are no VMs. "landfall vm new NAME" makes one.',
      }),
  }),
  command('vm show', {
    summary: 'Shows one VM',
    arguments: { vm: VM_ARGUMENT },
    run: async (context, { args: { vm } }) => {
      const view = await context.api.call({ method: 'GET', path: path`/v1/vms/${vm}` })
      return printRecord(context, view, VM_LINES)
    },
  }),
  command('vm new', {
    summary: 'Makes a VM, waits until its URL answers, and prints the URL',
    details: 'Without NAME the API chooses one. The VM is private unless --public is given.',
    arguments: { vm: { kind: NEW_NAME, summary: 'One DNS label in lower case', isOptional: true } },
    options: {
      pool: { kind: POOL, summary: 'The pool that it lives in; may be left out where there is one' },
      image: { kind: IMAGE, summary: 'What it boots' },
      port: { kind: PORT, summary: 'The port that the URL leads to' },
      public: { summary: 'Lets everybody in, without a login' },
      comment: { kind: TEXT, summary: 'Up to 200 characters' },
      ...SHAPE_OPTIONS,
      timeout: WAIT_OPTION,
    },
    examples: ['landfall vm new web --public', 'url=$(landfall vm new)', 'landfall vm new db --memory 1G'],
    run: (context, { args: { vm }, options: { timeout = DEFAULT_WAIT_MS, ...options } }) => {
      const { pool, image, port, public: isPublic, comment } = options
      const wanted = { pool, image, port, public: isPublic, comment, shape: toShape(options) }
      return newVm(context, { name: vm, timeoutMs: timeout, ...wanted })
    },
  }),
  command('vm set', {
    summary: 'Changes a VM; what is not named stays',
    arguments: { vm: VM_ARGUMENT },
    options: {
      image: { kind: IMAGE, summary: 'What it boots the next time' },
      port: { kind: PORT, summary: 'The port that the URL leads to' },
      comment: { kind: TEXT, summary: 'Up to 200 characters' },
      ...SHAPE_OPTIONS,
    },
    details: 'CPUs, memory and a larger disk count from the next start; weight and egress at once.',
    examples: ['landfall vm set web --memory 1G --suspend-after 10m'],
    run: (context, { args: { vm }, options: { image, port, comment, ...options } }) => {
      const body = {
        ...toShape(options),
        ...(image !== undefined && { image }),
        ...(port !== undefined && { port }),
        ...(comment !== undefined && { comment }),
      }
      if (Object.keys(body).length === 0) refuseUsage('Name what to change, as --image or --memory.')
      return printChanged(context, { name: vm, body })
    },
  }),
  command('vm start', {
    summary: 'Starts a VM and waits until it runs',
    arguments: { vm: VM_ARGUMENT },
    options: { timeout: WAIT_OPTION },
    run: (context, { args: { vm }, options: { timeout = DEFAULT_WAIT_MS } }) => startVm(context, vm, timeout),
  }),
  command('vm stop', {
    summary: 'Stops a VM and waits until it has stopped; its disk stays',
    arguments: { vm: VM_ARGUMENT },
    options: { timeout: WAIT_OPTION },
    run: (context, { args: { vm }, options: { timeout = DEFAULT_WAIT_MS } }) =>
      printChanged(context, { name: vm, body: { state: 'stopped' }, timeoutMs: timeout }),
  }),
  command('vm delete', {
    summary: 'Deletes VMs and their disks',
    arguments: { vms: { ...VM_ARGUMENT, isRepeated: true } },
    run: async (context, { args: { vms } }) => {
      for (const vm of vms) {
        await context.api.call({ method: 'DELETE', path: path`/v1/vms/${vm}` })
        if (!context.isJson) await printDeleted(context, [vm])
      }
      if (context.isJson) await printDeleted(context, vms)
    },
  }),
]

/** One that is asleep is as it is wanted; who starts it wants to find it awake. */
async function startVm(context: CommandContext, name: string, timeoutMs: number): Promise<void> {
  const deadline = performance.now() + timeoutMs
  const view = await changeVm(context, { name, body: { state: 'running' }, timeoutMs })
  const left = deadline - performance.now()
  const isAsleep = stateOf(view) === 'asleep'
  const awake = isAsleep ? await callVm(context, { name, what: 'wake', timeoutMs: left }) : view
  return printWritten(context, { view: awake, name, said: `vm ${name}: ${stateOf(awake)}` })
}

async function printChanged(context: CommandContext, write: VmWrite): Promise<void> {
  const view = await changeVm(context, write)
  return printWritten(context, { view, name: write.name, said: `vm ${write.name}: ${stateOf(view)}` })
}

const VM_LINES: readonly Column[] = [
  plain('NAME'),
  STATE,
  plain('MESSAGE', 'report.message'),
  plain('URL'),
  plain('POOL'),
  plain('IMAGE'),
  plain('PORT'),
  { title: 'PORTS', of: formatPorts },
  { title: 'OPEN', of: formatOpen },
  ...SHAPE_LINES,
  plain('HOST', 'report.host'),
  plain('GENERATION', 'report.generation'),
  plain('COMMENT'),
  plain('CREATED', 'createdAt'),
]

/** `80 public, 8000 private`. */
function formatPorts(view: Json): string {
  return Object.entries((view.ports ?? {}) as Json)
    .map(([port, policy]) => `${port} ${textOf(policy as Json, 'visibility')}`)
    .join(', ')
}

/** Where something listens, as its host reports. */
function formatOpen({ report }: Json): string {
  const { state, ports = [] } = (report ?? {}) as {
    readonly state?: string
    readonly ports?: readonly unknown[]
  }
  return state === 'running' ? ports.join(', ') : ''
}
