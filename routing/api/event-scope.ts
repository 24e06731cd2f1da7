/** Which changes one reader of events is told of. */

import { BINDINGS, DOMAINS, listRecords, ROUTES, VMS } from '../records/record-kinds.ts'
import type { Change, Page, Store, StoredDocument } from '../store/store.ts'
import { CLAIM_PREFIX } from '../vms/vm-plans.ts'
import { type Caller, may } from './caller.ts'
import type { RecordChange } from './event-text.ts'

/**
 * `vanished`: the record was the reader's, and is not any more. `unclear`: it cannot be known whether what is gone
 * was the reader's, which has to list again.
 */
export type Verdict = 'show' | 'hide' | 'vanished' | 'unclear'

export interface EventScope {
  judge(change: RecordChange): Verdict
  /** True for a change that no event tells of, but after which the reader has to list again. */
  mustResync(change: Change): boolean
}

export interface Reader {
  readonly caller: Caller
  /** Only what belongs to this pool. */
  readonly pool: string | undefined
}

/** Documents `<prefix><vm>/<hostname>` say whose the record of the host name is, and go together with that. */
const PROOFS: ReadonlyMap<string, string> = new Map([
  [BINDINGS.prefix, ROUTES.prefix],
  [CLAIM_PREFIX, DOMAINS.prefix],
])
/** How many names of deleted VMs are kept, so that what belonged to them is told as well. */
const MAX_GONE = 1_000

/** Reads what the reader has now, unless everything is the reader's. @throws RoutingError of the store */
export async function loadScope(store: Pick<Store, 'list'>, reader: Reader): Promise<EventScope> {
  if (reader.pool === undefined && may(reader.caller, 'read', undefined)) return createOpenScope(reader)
  const scope = new PoolScope(reader)
  await scope.load(store)
  return scope
}

/** Tokens are for those who could end all of them. */
function createOpenScope({ caller }: Reader): EventScope {
  const isForTokens = may(caller, 'admin', undefined)
  return {
    judge: ({ kind }) => (kind !== 'token' || isForTokens ? 'show' : 'hide'),
    mustResync: () => false,
  }
}

/**
 * A deletion does not say whose the record was, so the names of what the reader has are kept: those of now, and those
 * that events tell of. What was deleted between the reader's last event and now is in neither: it may have been the
 * reader's when it was a VM, or when a VM of the reader's lost the proof of it. Names are given away again, so each is
 * kept with the revision since which it is the reader's: what it was to others before is not for this reader.
 */
class PoolScope implements EventScope {
  readonly #reader: Reader
  readonly #vms = new NameBook()
  /** Of deleted ones. */
  readonly #goneVms = new Set<string>()
  /** Of routes and domains. */
  readonly #keys = new NameBook()
  /** Up to this revision there may be deletions of what `load` did not see any more. */
  #loadedAt = 0

  constructor(reader: Reader) {
    this.#reader = reader
  }

  async load(store: Pick<Store, 'list'>): Promise<void> {
    for await (const { record } of listRecords(store, VMS)) {
      if (this.#isMine(record.pool)) await this.#loadVm(store, record.name)
    }
    this.#loadedAt = (await store.list(VMS.prefix, { limit: 1 })).revision
  }

  /** A VM is as old as its oldest binding: it gets that of its own name when it is made. */
  async #loadVm(store: Pick<Store, 'list'>, name: string): Promise<void> {
    for (const [prefix, told] of PROOFS) {
      for await (const { key, revision } of listDocuments(store, `${prefix}${name}/`)) {
        this.#keys.add(told + key.slice(`${prefix}${name}/`.length), revision)
        if (prefix === BINDINGS.prefix) this.#vms.add(name, revision)
      }
    }
  }

  judge(change: RecordChange): Verdict {
    switch (change.kind) {
      case 'pool':
        return this.#isMine(change.name) ? 'show' : 'hide'
      case 'vm':
        return this.#judgeVm(change)
      case 'report':
      case 'grant':
      case 'snapshot':
        return this.#judgePart(change)
      case 'route':
        return this.#judgeKey(change, this.#isMine(change.record?.pool))
      case 'domain':
        return this.#judgeKey(change, this.#vms.has(change.record?.vm ?? '', change.revision))
      default:
        return 'hide'
    }
  }

  mustResync({ key, value, revision }: Change): boolean {
    if (value !== undefined || revision > this.#loadedAt) return false
    const [kind = '', vm = '', hostname = ''] = key.split('/')
    const told = PROOFS.get(`${kind}/`)
    return told !== undefined && this.#vms.has(vm, revision) && !this.#keys.has(told + hostname, revision)
  }

  #isMine(pool: string | undefined): boolean {
    const { caller, pool: asked } = this.#reader
    return pool !== undefined && may(caller, 'read', pool) && (asked === undefined || pool === asked)
  }

  #judgeVm({ name, record, action, revision }: RecordChange & { readonly kind: 'vm' }): Verdict {
    if (record !== undefined && this.#isMine(record.pool)) {
      this.#vms.add(name, revision)
      this.#goneVms.delete(name)
      return 'show'
    }
    const wasMine = this.#vms.delete(name, revision)
    if (action === 'put') {
      this.#goneVms.delete(name)
      return wasMine ? 'vanished' : 'hide'
    }
    if (!wasMine) return revision <= this.#loadedAt ? 'unclear' : 'hide'
    this.#rememberGone(name)
    return 'show'
  }

  #judgePart({ name, action, revision }: RecordChange): Verdict {
    const [vm = ''] = name.split('/')
    const isMine = this.#vms.has(vm, revision) || (action === 'delete' && this.#goneVms.has(vm))
    return isMine ? 'show' : 'hide'
  }

  #judgeKey({ key, action, revision }: RecordChange, isMine: boolean): Verdict {
    if (isMine) {
      this.#keys.add(key, revision)
      return 'show'
    }
    if (!this.#keys.delete(key, revision)) return 'hide'
    return action === 'put' ? 'vanished' : 'show'
  }

  #rememberGone(name: string): void {
    this.#goneVms.add(name)
    const [oldest = ''] = this.#goneVms
    if (this.#goneVms.size > MAX_GONE) this.#goneVms.delete(oldest)
  }
}

/** Names, each with the revision since which it is the reader's. */
class NameBook {
  readonly #names = new Map<string, number>()

  /** The earliest revision counts. */
  add(name: string, since: number): void {
    this.#names.set(name, Math.min(since, this.#names.get(name) ?? since))
  }

  has(name: string, revision: number): boolean {
    return (this.#names.get(name) ?? Number.POSITIVE_INFINITY) <= revision
  }

  /** False where the name is none of the reader's at this revision; one that it becomes later is kept. */
  delete(name: string, revision: number): boolean {
    return this.has(name, revision) && this.#names.delete(name)
  }
}

async function* listDocuments(store: Pick<Store, 'list'>, prefix: string): AsyncIterable<StoredDocument> {
  for (let after: string | undefined = ''; after !== undefined; ) {
    const page: Page = await store.list(prefix, { after })
    yield* page.documents
    after = page.next
  }
}
