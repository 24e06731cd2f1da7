/** `landfall __complete pools`: the names that a completion script asks for, one a line. */

import { type CommandContext, NAME_LISTS, type NameList } from './command.ts'
import { listOf, textOf } from './views.ts'

const QUESTION = '__complete'
/** Somebody waits with a finger on the tab key. */
const PATIENCE_MS = 3_000
const NAMES_IN: Readonly<Record<NameList, string>> = {
  pools: 'name',
  vms: 'name',
  routes: 'hostname',
  domains: 'hostname',
  tokens: 'id',
  keys: 'id',
  hosts: 'name',
  edges: 'name',
  sessions: 'id',
}

export function isNameQuestion([first]: readonly string[]): boolean {
  return first === QUESTION
}

/** Says nothing when the API does not answer: a message would stand in the middle of what is being typed. */
export async function printNames(
  { api, output }: CommandContext,
  [, wanted]: readonly string[],
): Promise<void> {
  const list = NAME_LISTS.find((name) => name === wanted)
  if (list === undefined) return
  try {
    const page = await api.call({
      method: 'GET',
      path: `/v1/${list}`,
      query: { limit: 1_000 },
      timeoutMs: PATIENCE_MS,
    })
    const names = listOf(page, list).map((view) => textOf(view, NAMES_IN[list]))
    // What is no plain name would need quoting, and could be made to run something.
    const plain = names.filter((name) => /^[A-Za-z0-9._-]+$/.test(name))
    if (plain.length > 0) await output.print(plain.join('\n'))
  } catch {
    // Completion without names is still completion.
  }
}
