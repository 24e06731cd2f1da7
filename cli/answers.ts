/** How commands answer: the API's JSON with `--json`, tables and names without. */

import type { Json, Query } from './api.ts'
import type { CommandContext } from './command.ts'
import { harmless, layOut } from './text-table.ts'
import { type Column, listOf } from './views.ts'

export interface Listing {
  readonly path: string
  readonly query?: Query
  /** The member of the answer that holds the records. */
  readonly plural: string
  readonly columns: readonly Column[]
  /** Said when there is nothing. */
  readonly none: string
}

/** Asks for all pages and prints them. */
export async function printListing(context: CommandContext, listing: Listing): Promise<void> {
  const { path, query, plural, columns, none } = listing
  const all = await context.api.list(path, query)
  if (context.isJson) return context.output.printJson(all)
  const views = listOf(all, plural)
  if (views.length === 0) return context.output.say(none)
  const rows = views.map((view) => columns.map(({ of }) => of(view)))
  return context.output.printTable({ titles: columns.map(({ title }) => title), rows })
}

/** One record, a line for each column that is not empty. */
export async function printRecord(
  { output, isJson }: CommandContext,
  view: Json,
  columns: readonly Column[],
): Promise<void> {
  if (isJson) return output.printJson(view)
  const rows = columns
    .map(({ title, of }) => [title.toLowerCase(), of(view)])
    .filter(([, text]) => text !== '')
  const [titles = [], ...rest] = rows.map((row) => row.map((text) => harmless(text ?? '')))
  return output.print(layOut({ titles, rows: rest }, { hasColours: false }).join('\n'))
}

/** After a write: its name alone on standard output, so that scripts can take it, and a sentence beside it. */
export async function printWritten(
  { output, isJson }: CommandContext,
  { view, name, said }: { readonly view: Json; readonly name: string; readonly said: string },
): Promise<void> {
  if (isJson) return output.printJson(view)
  output.say(harmless(said))
  return output.print(harmless(name))
}

/** After a deletion, which the API answers without a word. */
export async function printDeleted(
  { output, isJson }: CommandContext,
  names: readonly string[],
): Promise<void> {
  if (isJson) return output.printJson({ deleted: names })
  output.say(`deleted ${names.map(harmless).join(', ')}`)
}
