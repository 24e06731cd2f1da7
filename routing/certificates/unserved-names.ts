/** Deletes certificates and orders of custom names that have led nowhere for a week. */

import { KEY_TYPES } from '../records/certificates.ts'
import { CERTIFICATES, DOMAINS, ORDERS, RENEWALS, ROUTES, toSlot } from '../records/record-kinds.ts'
import type { Mutation, Page, StoredDocument } from '../store/store.ts'
import type { Sweep } from '../sweep.ts'
import { commitUnlessLost } from './books-store.ts'

export interface UnservedSettings {
  /** The platform's domain: its certificates, and those of names below it, stay. */
  readonly domain: string
  /** Unix milliseconds. */
  readonly now: () => number
}

/** `unserved/<name>`: since when neither a row nor a domain has the name. */
const MARK_PREFIX = 'unserved/'
const KEPT_MS = 7 * 86_400_000
const PAGE = 100
/** Of one sweep: certificates are long, and a hundred thousand of them need not be read in an hour. */
const PAGES_PER_SWEEP = 50

type Marks = ReadonlyMap<string, StoredDocument>

export class UnservedNames {
  readonly #settings: UnservedSettings
  /** Of each kind: up to where the last sweep came. */
  readonly #reached = new Map<string, string | undefined>()

  constructor(settings: UnservedSettings) {
    this.#settings = settings
  }

  /** Goes on where the last sweep has ended. Resolves for how many names something was deleted. */
  async sweep(sweep: Sweep): Promise<number> {
    const marks = await this.#readMarks(sweep)
    let deleted = 0
    for (const { prefix } of [ORDERS, CERTIFICATES]) {
      for (let pages = 0; pages < PAGES_PER_SWEEP && !sweep.isOver(); pages += 1) {
        const page: Page = await sweep.store.list(prefix, {
          after: this.#reached.get(prefix) ?? '',
          limit: PAGE,
        })
        deleted += await this.#sweepNames(sweep, marks, namesOf(page, prefix))
        this.#reached.set(prefix, page.next)
        if (page.next === undefined) break
      }
    }
    return deleted
  }

  /** Those of names that are served again, or of which nothing is left, are deleted. */
  async #readMarks(sweep: Sweep): Promise<Marks> {
    const marks = new Map<string, StoredDocument>()
    for (let after: string | undefined = ''; after !== undefined; ) {
      const page: Page = await sweep.store.list(MARK_PREFIX, { after })
      for (const document of page.documents) {
        const name = document.key.slice(MARK_PREFIX.length)
        const isEmpty = this.#isOld(document) && !(await hasRows(sweep, name))
        const isOver = isEmpty || (await isServed(sweep, name))
        if (isOver) await sweep.remove([document])
        else marks.set(name, document)
      }
      after = page.next
    }
    return marks
  }

  async #sweepNames(sweep: Sweep, marks: Marks, names: readonly string[]): Promise<number> {
    const custom = names.filter((name) => !this.#isOfPlatform(name))
    const served = await Promise.all(custom.map((name) => isServed(sweep, name)))
    let deleted = 0
    for (const name of custom.filter((_, index) => served[index] === false)) {
      const mark = marks.get(name)
      if (mark === undefined) await this.#mark(sweep, name)
      else if (this.#isOld(mark) && (await deleteName(sweep, name))) deleted += 1
    }
    return deleted
  }

  #isOfPlatform(name: string): boolean {
    const { domain } = this.#settings
    return name === domain || name.endsWith(`.${domain}`)
  }

  /** One that cannot be read is as good as none, and written anew. */
  #isOld({ value: { at } }: StoredDocument): boolean {
    return typeof at === 'string' && Date.parse(at) <= this.#settings.now() - KEPT_MS
  }

  async #mark({ store }: Sweep, name: string): Promise<void> {
    const at = new Date(this.#settings.now()).toISOString()
    await commitUnlessLost(store, [{ key: MARK_PREFIX + name, value: { name, at }, ifRevision: 0 }])
  }
}

function namesOf({ documents }: Page, prefix: string): readonly string[] {
  const names = documents.map(({ key }) => key.slice(prefix.length, key.lastIndexOf('/')))
  return [...new Set(names)]
}

async function isServed({ store }: Sweep, name: string): Promise<boolean> {
  const found = await Promise.all([store.get(ROUTES.prefix + name), store.get(DOMAINS.prefix + name)])
  return found.some((document) => document !== undefined)
}

/** Whether there is still what the mark is for; it may have gone by other ways. */
async function hasRows({ store }: Sweep, name: string): Promise<boolean> {
  const keys = KEY_TYPES.flatMap((keyType) =>
    [CERTIFICATES, ORDERS].map(({ prefix }) => prefix + toSlot({ name, keyType })),
  )
  const found = await Promise.all(keys.map((key) => store.get(key)))
  return found.some((document) => document !== undefined)
}

/** False when the name is served again. */
async function deleteName({ store }: Sweep, name: string): Promise<boolean> {
  const checks: readonly Mutation[] = [ROUTES, DOMAINS].map(({ prefix }) => ({
    ...{ key: prefix + name, value: undefined, ifRevision: 0 },
    isCheck: true,
  }))
  const keys = KEY_TYPES.flatMap((keyType) =>
    [CERTIFICATES, RENEWALS, ORDERS].map(({ prefix }) => prefix + toSlot({ name, keyType })),
  )
  const deletions = [MARK_PREFIX + name, ...keys].map((key) => ({ key, value: undefined }))
  return (await commitUnlessLost(store, [...checks, ...deletions])) !== undefined
}
