/** Certificates as whoever owns a name deals with them: what there is, what is wrong, uploads, and renewal at once. */

import { toMoment } from '../../lib/moment.ts'
import type { CheckStep } from '../checks/checks.ts'
import { toDetail } from '../details.ts'
import { AcmeError } from '../errors.ts'
import { readUpload, type Upload } from '../imports/upload.ts'
import type { CertificateRow, KeyType, OrderRow } from '../rows.ts'
import { KEY_TYPES, toRecordKey } from '../rows.ts'
import { askSteps } from './asked-steps.ts'
import { findObstacle, type Target, toTarget, toUploadTarget } from './desk-names.ts'
import type { ChangeNote, DeskDeps, DeskSettings, WriteRight } from './desk-settings.ts'
import { type CertificateCheck, type ShownCertificate, toShownCertificate, toView } from './desk-views.ts'
import { certificateSteps, orderSteps, routeStep, UNMANAGED } from './known-steps.ts'

const CHECK_MS = 15_000
/** More than an order has states. */
const MAX_DROPS = 20

/** Every method rejects with AcmeError, or with what the store throws. */
export class Desk {
  readonly #deps: DeskDeps
  readonly #settings: DeskSettings

  constructor(deps: DeskDeps, settings: DeskSettings) {
    this.#deps = deps
    this.#settings = settings
  }

  /** What is known without asking anybody. @throws AcmeError `certificate_unknown` */
  async view(hostname: string): Promise<CertificateCheck> {
    const target = toTarget(hostname, this.#settings)
    const found = this.#find(hostname)
    const isKnown = found.length > 0 || this.#ordersOf(target).length > 0 || this.#deps.isServed(hostname)
    if (!isKnown && target.kind === 'custom') throw unknown(hostname)
    return this.#tell(hostname, found)
  }

  /** Asks DNS and the authorities as well; of any name, also one that is unknown here. */
  async check(hostname: string, signal: AbortSignal): Promise<CertificateCheck> {
    const found = this.#find(hostname)
    const { checkMs = CHECK_MS } = this.#settings
    const target = toTarget(hostname, this.#settings)
    const isOrdered = this.#isManaged && findObstacle(hostname, target.kind) === undefined
    if (!isOrdered) return this.#tell(hostname, found)
    const limit = AbortSignal.timeout(checkMs)
    const isUploaded = found.some(({ row }) => row.source === 'upload')
    const asked = askSteps(this.#deps, this.#settings, {
      target,
      signal: AbortSignal.any([signal, limit]),
      isUploaded,
    }).catch((error: unknown) => {
      if (!limit.aborted || signal.aborted) throw error
      return [TOO_SLOW]
    })
    return this.#tell(hostname, found, await asked)
  }

  /**
   * Replaces what there was of the same kind of key, and takes away what had been ordered. Rejects when the right's basis
   * has changed meanwhile. @throws AcmeError `certificate_invalid`
   */
  async upload(hostname: string, upload: Upload, { note, basis }: WriteRight): Promise<CertificateCheck> {
    const { name, names } = toUploadTarget(hostname, this.#settings)
    const read = await readUpload(upload, { now: () => this.#now(), hostnames: names })
    const key = keyOf({ name, keyType: read.keyType })
    const row: CertificateRow = {
      ...{ name, names, keyType: read.keyType, source: 'upload' },
      chain: read.chain.map((der) => der.toString('base64')),
      sealedKey: this.#deps.sealer.seal(read.keyDer, key),
      notBefore: read.notBefore.toISOString(),
      notAfter: read.notAfter.toISOString(),
      createdAt: toMoment(this.#now()),
    }
    const before = await this.#deps.books.certificates.find(name, read.keyType)
    await note({ key, ...(before && { before: toAudited(before.row) }), after: toAudited(row) })
    await this.#deps.books.certificates.put(row, undefined, basis)
    const others = KEY_TYPES.filter((keyType) => keyType !== read.keyType)
    for (const keyType of others) await this.#removeOrdered(name, keyType, note)
    const left = this.#find(hostname).filter((one) => isLeftBeside(one, row))
    // The table has not heard of it yet.
    return this.#tell(hostname, [{ row }, ...left])
  }

  async remove(hostname: string, note: ChangeNote): Promise<boolean> {
    const { name } = toUploadTarget(hostname, this.#settings)
    let isRemoved = false
    for (const keyType of KEY_TYPES) {
      const kept = await this.#deps.books.certificates.find(name, keyType)
      if (kept?.row.source !== 'upload') continue
      await note({ key: keyOf(kept.row), before: toAudited(kept.row) })
      await this.#deps.books.certificates.delete(name, keyType)
      isRemoved = true
    }
    return isRemoved
  }

  /** @throws AcmeError `certificate_unmanaged`, `certificate_unknown` */
  async renew(hostname: string, note: ChangeNote): Promise<CertificateCheck> {
    const { orders } = this.#deps
    if (orders === undefined) throw new AcmeError('certificate_unmanaged')
    const { name, names, kind } = toTarget(hostname, this.#settings)
    const obstacle = findObstacle(hostname, kind)
    if (obstacle !== undefined) throw new AcmeError('certificate_unmanaged', { detail: obstacle })
    if (kind === 'custom' && !this.#deps.isServed(hostname)) throw unknown(hostname)
    await this.#checkNotUploaded(name)
    for (const keyType of this.#settings.keyTypes) {
      await note({
        key: toRecordKey('order', { name, keyType }),
        after: { name, names, keyType, cause: 'operator' },
      })
      await orders.want({ name, names, keyType, cause: 'operator' })
    }
    return this.view(hostname)
  }

  async #checkNotUploaded(name: string): Promise<void> {
    for (const keyType of KEY_TYPES) {
      const kept = await this.#deps.books.certificates.find(name, keyType)
      if (kept?.row.source !== 'upload') continue
      const detail = `The certificate of ${name} was uploaded, and is not ordered here: upload the next one, or remove it first.`
      throw new AcmeError('certificate_unmanaged', { detail })
    }
  }

  /** Clients that prefer the other kind of key would never see what was uploaded. */
  async #removeOrdered(name: string, keyType: KeyType, note: ChangeNote): Promise<void> {
    const { certificates } = this.#deps.books
    await this.#dropOrder(name, keyType)
    const kept = await certificates.find(name, keyType)
    if (kept?.row.source !== 'acme') return
    await note({ key: keyOf(kept.row), before: toAudited(kept.row) })
    await certificates.delete(name, keyType)
  }

  /** Whoever carries it out may save its next state at the same moment, and then again. */
  async #dropOrder(name: string, keyType: KeyType): Promise<void> {
    const { orders } = this.#deps.books
    for (let tries = 0; tries < MAX_DROPS; tries += 1) {
      const order = await orders.find(name, keyType)
      if (order === undefined || (await orders.delete(order))) return
    }
  }

  #tell(
    hostname: string,
    found: readonly ShownCertificate[],
    asked?: readonly CheckStep[],
  ): CertificateCheck {
    const isManaged = this.#isManaged
    const target = toTarget(hostname, this.#settings)
    const obstacle = findObstacle(hostname, target.kind)
    const isUploaded = found.some(({ row }) => row.source === 'upload')
    const orders = isUploaded ? [] : this.#ordersOf(target)
    const nowMs = this.#now()
    const failed = orders.find(({ state }) => state === 'failed')
    return {
      hostname,
      state: stateOf(found, orders, nowMs),
      steps: [
        routeStep(hostname, target, this.#deps.isServed(hostname)),
        ...(asked ?? []),
        ...(isManaged || isUploaded ? [] : [UNMANAGED]),
        ...(isManaged && !isUploaded && obstacle === undefined ? orderSteps(orders) : []),
        ...certificateSteps({ target, found, orders, isManaged, nowMs }),
      ],
      certificates: found.map(toView),
      ...(failed?.lastError && { lastError: toError(failed.lastError) }),
      ...(failed?.nextTryAt !== undefined && { nextTryAt: failed.nextTryAt }),
    }
  }

  /** Whether there is a CA to ask. */
  get #isManaged(): boolean {
    return this.#deps.orders !== undefined
  }

  #find(hostname: string): readonly ShownCertificate[] {
    return this.#deps.table.find(hostname).map((known) => toShownCertificate(known, this.#deps.sealer))
  }

  #ordersOf({ name }: Target): readonly OrderRow[] {
    return KEY_TYPES.flatMap((keyType) => this.#deps.table.findOrder(name, keyType) ?? [])
  }

  #now(): number {
    return (this.#settings.now ?? Date.now)()
  }
}

const TOO_SLOW: CheckStep = {
  step: 'dns',
  state: 'unknown',
  detail: 'DNS and the authorities did not answer in time.',
  next: 'Check again.',
}

export function createDesk(deps: DeskDeps, settings: DeskSettings): Desk {
  return new Desk(deps, settings)
}

function stateOf(
  found: readonly ShownCertificate[],
  orders: readonly OrderRow[],
  nowMs: number,
): CertificateCheck['state'] {
  if (found.some(({ row, isLocked }) => isLocked !== true && Date.parse(row.notAfter) > nowMs))
    return 'served'
  if (orders.some(({ state }) => state !== 'failed')) return 'pending'
  return orders.length > 0 ? 'waiting' : 'none'
}

function isLeftBeside({ row }: ShownCertificate, { name, keyType }: CertificateRow): boolean {
  return row.name === name && row.keyType !== keyType && row.source === 'upload'
}

function keyOf({ name, keyType }: Pick<CertificateRow, 'name' | 'keyType'>): string {
  return toRecordKey('certificate', { name, keyType })
}

/** Neither the key, sealed as it is, nor the chain. */
function toAudited(row: CertificateRow): object {
  return { name: row.name, ...toView({ row }) }
}

function toError({ code, detail, at }: NonNullable<OrderRow['lastError']>) {
  return { code, detail: toDetail(detail), at }
}

function unknown(hostname: string): AcmeError {
  return new AcmeError('certificate_unknown', { detail: `Nothing is known of ${hostname} here.` })
}
