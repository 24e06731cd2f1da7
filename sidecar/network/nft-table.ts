/** Keeps the kernel's nft table like what is wanted, with one small command per change. */

import type { Log } from '../../lib/log.ts'
import { runNetworkCommand } from './network-command.ts'
import { formatChanges, formatTable, type GuestElements, type RuleSettings } from './nft-rules.ts'

export interface NftTable {
  /** Settles when the table is as `wanted` said at the time of the call, or later. @throws SidecarError network_failed */
  sync(): Promise<void>
  /** Loads it anew when somebody removed it (`nft flush ruleset`, a restart of the system's own rules). */
  check(): Promise<void>
}

interface TableDeps {
  readonly log: Log
  readonly wanted: () => GuestElements
}

/** The table is there, as wanted, when this settles. @throws SidecarError network_failed */
export async function openNftTable({ log, wanted }: TableDeps, settings: RuleSettings): Promise<NftTable> {
  let loaded: GuestElements = wanted()
  let running: Promise<void> = Promise.resolve()
  let next: Promise<void> | undefined
  const load = async () => {
    const elements = wanted()
    await runNft(formatTable(settings, elements))
    loaded = elements
  }
  const change = async () => {
    const elements = wanted()
    const changes = formatChanges(loaded, elements)
    if (changes === '') return
    try {
      await runNft(changes)
      loaded = elements
    } catch (error) {
      log.warn({ error }, 'the nft table is not as it was left; loading it anew')
      await load()
    }
  }
  const enqueue = (work: () => Promise<void>) => {
    const done = running.then(work)
    running = done.catch(() => undefined)
    return done
  }
  await load()
  return {
    // Whoever comes before the next change begins is part of it.
    sync: () => {
      next ??= enqueue(() => {
        next = undefined
        return change()
      })
      return next
    },
    check: () =>
      enqueue(async () => {
        if (await isLoaded()) return
        log.warn({}, 'the nft table landfall was gone; guests were without rules. Loading it anew')
        await load()
      }),
  }
}

function runNft(commands: string): Promise<string> {
  return runNetworkCommand('nft', ['-f', '-'], commands)
}

async function isLoaded(): Promise<boolean> {
  return (await runNetworkCommand('nft', ['list', 'tables', 'inet'])).includes('table inet landfall\n')
}

interface ListedSet {
  readonly set?: { readonly name: string; readonly elem?: readonly unknown[] }
}

/** The elements of an earlier process's table, of the sets whose elements are addresses and ports alone. */
export async function listElements(name: 'open' | 'peers'): Promise<readonly string[]> {
  if (!(await isLoaded())) return []
  const text = await runNetworkCommand('nft', ['-j', 'list', 'set', 'inet', 'landfall', name])
  const { nftables } = JSON.parse(text) as { readonly nftables: readonly ListedSet[] }
  const elements = nftables.find(({ set }) => set?.name === name)?.set?.elem ?? []
  return elements.map(formatElement)
}

function formatElement(element: unknown): string {
  const isJoined = typeof element === 'object' && element !== null && 'concat' in element
  return isJoined && Array.isArray(element.concat) ? element.concat.join(' . ') : String(element)
}
