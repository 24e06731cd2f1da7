/** The answers to http-01 and tls-alpn-01 as an edge gives them: of challenges in the table alone, which gives none that has run out. */

import { createSecureContext, type SecureContext } from 'node:tls'
import type { CertificateTable } from '../books.ts'
import { toCertPem, toKeyPem } from '../pem.ts'
import type { ChallengeRow } from '../rows.ts'
import { createAlpnCertificate } from './alpn-certificate.ts'

/** A CA asks from several places, within seconds. */
const MAX_CONTEXTS = 100

interface Made {
  readonly value: string
  readonly context: SecureContext
}

export class ChallengeAnswers {
  readonly #table: Pick<CertificateTable, 'findAnswer' | 'findAlpn'>
  readonly #now: () => number
  readonly #made = new Map<string, Made>()

  constructor(table: Pick<CertificateTable, 'findAnswer' | 'findAlpn'>, now: () => number) {
    this.#table = table
    this.#now = now
  }

  /** The key authorization, for the host name that it was made for. */
  findHttp(hostname: string, token: string): string | undefined {
    const row = this.#table.findAnswer(token)
    return row?.name === hostname.toLowerCase() ? row.value : undefined
  }

  /** For `acme-tls/1` alone. */
  findAlpn(hostname: string): SecureContext | undefined {
    const row = this.#table.findAlpn(hostname)
    if (row === undefined) return undefined
    const made = this.#made.get(row.id)
    return made?.value === row.value ? made.context : this.#make(row)
  }

  #make({ id, name, value }: ChallengeRow): SecureContext {
    const { certificateDer, key } = createAlpnCertificate({
      name,
      keyAuthorization: value,
      nowMs: this.#now(),
    })
    const cert = toCertPem(certificateDer.toString('base64'))
    const context = createSecureContext({ cert, key: toKeyPem(key.export({ type: 'pkcs8', format: 'der' })) })
    const [oldest] = this.#made.keys()
    if (this.#made.size >= MAX_CONTEXTS && oldest !== undefined) this.#made.delete(oldest)
    this.#made.set(id, { value, context })
    return context
  }
}
