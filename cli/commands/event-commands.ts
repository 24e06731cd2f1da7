/** `landfall events` and `landfall audit`: what changes, and who changed what. */

import { printListing } from '../answers.ts'
import type { Json } from '../api.ts'
import { type Command, type CommandContext, command } from '../command.ts'
import { CliError } from '../errors.ts'
import { followEvents } from '../follow.ts'
import { COUNT, ID, POOL, SINCE } from '../kinds.ts'
import type { ServerEvent } from '../sse.ts'
import { harmless } from '../text-table.ts'
import { plain, textOf } from '../views.ts'

const DAY_MS = 86_400_000
const RESYNC = 'resync'
const ACTION_WIDTH = 6

export const EVENT_COMMANDS: readonly Command[] = [
  command('events', {
    summary: 'Prints each change as it happens, until Ctrl-C',
    details:
      'With --json each event is one line. A connection that is lost is made again where it was; "resync" says that something may have been missed.',
    options: {
      pool: { kind: POOL, summary: 'Only what belongs to this pool' },
      follow: { kind: ID, summary: 'The id of the last event that you have; begins after it' },
      limit: { kind: COUNT, summary: 'Ends after so many' },
    },
    examples: ['landfall events --json | jq -c .name', 'landfall events --follow 1234 --limit 10'],
    run: (context, { options: { pool, follow, limit } }) => printEvents(context, { pool, follow, limit }),
  }),
  command('audit list', {
    summary: 'Lists who changed what, oldest first',
    options: {
      pool: { kind: POOL, summary: 'Only what belongs to this pool' },
      since: { kind: SINCE, summary: 'The first moment, as 7d or a moment; the last day unless given' },
    },
    run: (context, { options: { pool, since } }) =>
      printListing(context, {
        path: '/v1/audit',
        query: { pool, since: since ?? new Date(context.now().getTime() - DAY_MS).toISOString() },
        plural: 'audit',
        columns: [
          plain('AT'),
          plain('WHO'),
          plain('ACTION'),
          plain('KEY'),
          plain('POOL'),
          plain('REQUEST', 'requestId'),
        ],
        none: 'Nothing was changed in that time.',
      }),
  }),
]

interface Wanted {
  readonly pool: string | undefined
  readonly follow: string | undefined
  readonly limit: number | undefined
}

async function printEvents(
  context: CommandContext,
  { pool, follow, limit = Infinity }: Wanted,
): Promise<void> {
  const { api, output, signal, isJson } = context
  const onLost = (reason: string) => output.say(harmless(`landfall: ${reason}; connecting again`))
  const events = followEvents(api, {
    query: { pool },
    signal,
    onLost,
    ...(follow !== undefined && { from: follow }),
  })
  let count = 0
  for await (const event of events) {
    const change = toChange(event)
    await output.print(isJson ? JSON.stringify(change) : lineOf(change))
    count += 1
    if (count >= limit) return
  }
}

/** `1234  put     vm/web`. */
function lineOf(change: Json): string {
  const [revision, kind, name] = ['revision', 'kind', 'name'].map((member) => textOf(change, member))
  const action = textOf(change, 'action').padEnd(ACTION_WIDTH)
  if (kind === RESYNC) return `${revision}  ${RESYNC}  something may have been missed: list again`
  return harmless(`${revision}  ${action}  ${kind}/${name}`)
}

/** @throws CliError `cli_answer_unreadable` */
function toChange(event: ServerEvent): Json {
  return { ...(event.event === RESYNC && { kind: RESYNC }), ...parse(event) }
}

function parse({ data }: ServerEvent): Json {
  try {
    return JSON.parse(data) as Json
  } catch (cause) {
    throw new CliError('cli_answer_unreadable', { cause, detail: 'An event is not JSON.' })
  }
}
