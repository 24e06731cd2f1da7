/** `landfall status` and `landfall table`: how the platform is, and an operator's word for a store that lost its data. */

import type { Json } from '../api.ts'
import { type Command, type CommandContext, command } from '../command.ts'
import { refuseUsage } from '../errors.ts'
import { harmless, layOut } from '../text-table.ts'

export const STATUS_COMMANDS: readonly Command[] = [
  command('status', {
    summary: 'Says how the platform is: store, table, hosts, edges, and how much there is',
    run: async (context) => {
      const view = await context.api.call({ method: 'GET', path: '/v1/status' })
      if (context.isJson) return context.output.printJson(view)
      return printStatus(context, view)
    },
  }),
  command('table accept', {
    summary: 'Lets the edges load a store that lost its data',
    details:
      'An edge that knows another store keeps serving what it knows: whether the loss is meant is for you to say.\nWhat the edges know and the store has not is gone for good afterwards.',
    options: { yes: { summary: 'Says that it is meant' } },
    run: async (context, { options: { yes } }) => {
      if (!yes) refuseUsage('Edges forget what the store does not have: add --yes when that is meant.')
      const view = await context.api.call({ method: 'POST', path: '/v1/table/accept' })
      if (context.isJson) return context.output.printJson(view)
      return context.output.say('accepted: the edges load the store as it is now')
    },
  }),
]

/** One line for each member: what a newer API adds is shown as well. */
async function printStatus({ output }: CommandContext, view: Json): Promise<void> {
  const [titles = [], ...rows] = Object.entries(view).map(([name, value]) => [
    name,
    harmless(describe(value)),
  ])
  return output.print(layOut({ titles, rows }, { hasColours: false }).join('\n'))
}

/** `alive 2, dead 0`; what is nested deeper stands in brackets. */
function describe(value: unknown): string {
  if (typeof value === 'boolean') return value ? 'yes' : 'no'
  if (typeof value !== 'object' || value === null) return String(value)
  if (Array.isArray(value)) return value.length === 0 ? 'none' : value.map(describe).join(', ')
  return Object.entries(value).map(describeMember).join(', ')
}

function describeMember([name, value]: [string, unknown]): string {
  const isNested = typeof value === 'object' && value !== null
  return `${name} ${isNested ? `(${describe(value)})` : describe(value)}`
}
