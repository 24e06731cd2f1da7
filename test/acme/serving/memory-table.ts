/** A certificate table in the memory of a test, and real certificates to put into it. */

import { generateKeyPairSync, type KeyObject, X509Certificate } from 'node:crypto'
import type { CertificateTable, KnownCertificate } from '../../../acme/books.ts'
import { generateKey } from '../../../acme/keys.ts'
import type { CertificateRow, ChallengeRow, KeyType, OrderRow, TicketKeyRow } from '../../../acme/rows.ts'
import { KEY_TYPES } from '../../../acme/rows.ts'
import { createAuthorityCertificate, createServerCertificate } from '../../../acme/x509.ts'
import { createSealer } from '../../../lib/seal.ts'

export const sealer = createSealer(Buffer.alloc(32, 7))
const DAY_MS = 86_400_000

export class MemoryTable implements CertificateTable {
  readonly ready = true
  readonly ageMs = 0
  /** Look-ups by host name. */
  finds = 0
  readonly #certificates = new Map<string, KnownCertificate>()
  readonly #orders = new Map<string, OrderRow>()
  readonly #certificateRings = new Set<(name: string) => void>()
  readonly #orderRings = new Set<(row: OrderRow) => void>()
  readonly #ticketRings = new Set<() => void>()
  readonly challenges: ChallengeRow[] = []
  ticketKeys: readonly TicketKeyRow[] = []
  #revision = 0

  get size(): number {
    return this.#certificates.size
  }

  get hasAlpn(): boolean {
    return this.challenges.some(({ type }) => type === 'tls-alpn-01')
  }

  find(hostname: string): readonly KnownCertificate[] {
    this.finds += 1
    const wildcard = `*${hostname.slice(hostname.indexOf('.'))}`
    const order = ({ names, keyType }: KnownCertificate) =>
      (names.includes(hostname) ? 0 : 2) + (keyType === 'ec' ? 0 : 1)
    return [...this.#certificates.values()]
      .filter(({ names }) => names.includes(hostname) || names.includes(wildcard))
      .toSorted((one, other) => order(one) - order(other))
  }

  get(name: string, keyType: KeyType): KnownCertificate | undefined {
    return this.#certificates.get(`${name}/${keyType}`)
  }

  list(): Iterable<KnownCertificate> {
    return this.#certificates.values()
  }

  findOrder(name: string, keyType: KeyType): OrderRow | undefined {
    return this.#orders.get(`${name}/${keyType}`)
  }

  listOrders(): Iterable<OrderRow> {
    return this.#orders.values()
  }

  findAnswer(token: string): ChallengeRow | undefined {
    return this.challenges.find((row) => row.type === 'http-01' && row.token === token)
  }

  findAlpn(hostname: string): ChallengeRow | undefined {
    return this.challenges.find((row) => row.type === 'tls-alpn-01' && row.name === hostname)
  }

  findTxt(): readonly string[] {
    return []
  }

  listTicketKeys(): readonly TicketKeyRow[] {
    return this.ticketKeys
  }

  onCertificate(ring: (name: string) => void): () => void {
    this.#certificateRings.add(ring)
    return () => this.#certificateRings.delete(ring)
  }

  onOrder(ring: (row: OrderRow) => void): () => void {
    this.#orderRings.add(ring)
    return () => this.#orderRings.delete(ring)
  }

  onTicketKey(ring: () => void): () => void {
    this.#ticketRings.add(ring)
    return () => this.#ticketRings.delete(ring)
  }

  put(row: CertificateRow): KnownCertificate {
    this.#revision += 1
    const { name, keyType, names, source } = row
    const known = {
      ...{ name, keyType, names, source, revision: this.#revision, renewal: undefined },
      notBeforeMs: Date.parse(row.notBefore),
      notAfterMs: Date.parse(row.notAfter),
      read: () => row,
    }
    this.#certificates.set(`${name}/${keyType}`, known)
    for (const ring of this.#certificateRings) ring(name)
    return known
  }

  remove(name: string): void {
    for (const keyType of KEY_TYPES) this.#certificates.delete(`${name}/${keyType}`)
    for (const ring of this.#certificateRings) ring(name)
  }

  putOrder(row: OrderRow): void {
    this.#orders.set(`${row.name}/${row.keyType}`, row)
    for (const ring of this.#orderRings) ring(row)
  }

  deleteOrder(name: string): void {
    this.#orders.delete(`${name}/ec`)
  }

  putTicketKeys(rows: readonly TicketKeyRow[]): void {
    this.ticketKeys = rows
    for (const ring of this.#ticketRings) ring()
  }

  /** Who listens. */
  get listeners(): number {
    return this.#certificateRings.size + this.#orderRings.size + this.#ticketRings.size
  }
}

export interface Factory {
  /** What a client trusts. */
  readonly caPem: string
  make(name: string, changes?: Changes): Promise<CertificateRow>
}

export interface Changes {
  readonly names?: readonly string[]
  readonly keyType?: KeyType
  readonly source?: 'acme' | 'upload'
  readonly notBeforeMs?: number
  readonly notAfterMs?: number
}

/** RSA keys take long to make. */
let rsaKey: KeyObject | undefined

/** Rows with certificates of a CA of the test's own. */
export async function createFactory(): Promise<Factory> {
  const key = await generateKey('ec')
  const signer = { key, subject: 'CN=Test CA' }
  const [from, until] = [new Date(Date.now() - 365 * DAY_MS), new Date(Date.now() + 3_650 * DAY_MS)]
  const caPem = await createAuthorityCertificate(signer, { notBefore: from, notAfter: until })
  const make = async (name: string, changes: Changes = {}): Promise<CertificateRow> => {
    const { names = [name], keyType = 'ec', source = 'acme' } = changes
    const { notBeforeMs = Date.now() - DAY_MS, notAfterMs = Date.now() + 60 * DAY_MS } = changes
    const [notBefore, notAfter] = [new Date(notBeforeMs), new Date(notAfterMs)]
    rsaKey ??= generateKeyPairSync('rsa', { modulusLength: 2_048 }).privateKey
    const leafKey = keyType === 'ec' ? await generateKey('ec') : rsaKey
    const validity = { notBefore, notAfter }
    const leaf = new X509Certificate(await createServerCertificate(signer, { names, key: leafKey, validity }))
    return {
      ...{ name, keyType, names, source, createdAt: new Date().toISOString() },
      chain: [leaf.raw.toString('base64'), new X509Certificate(caPem).raw.toString('base64')],
      sealedKey: sealer.seal(toPkcs8(leafKey), `certificate/${name}/${keyType}`),
      ...{ notBefore: notBefore.toISOString(), notAfter: notAfter.toISOString() },
    }
  }
  return { caPem, make }
}

function toPkcs8(key: KeyObject): Buffer {
  return key.export({
    type: 'pkcs8',
    format: 'der',
  })
}
