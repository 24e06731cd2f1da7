/** What the admin API needs of certificates; acme/desk fits it. */

export interface CertificateStep {
  readonly step: string
  readonly state: string
  readonly detail: string
  readonly next?: string
}

/** Moments in ISO 8601. */
export interface CertificateView {
  readonly keyType: string
  readonly names: readonly string[]
  readonly source: string
  readonly issuer: string
  readonly notBefore: string
  readonly notAfter: string
  readonly fingerprint: string
  readonly ca?: string
  readonly renewAt?: string
}

export interface CertificateCheck {
  readonly hostname: string
  /** `served`, `pending`, `waiting` for a next try, `none`. */
  readonly state: string
  readonly steps: readonly CertificateStep[]
  readonly certificates: readonly CertificateView[]
  readonly lastError?: { readonly code: string; readonly detail: string; readonly at: string }
  readonly nextTryAt?: string
}

/** Either PEM, or PKCS#12 in base64. */
export type CertificateUpload =
  | { readonly certificate: string; readonly key: string }
  | { readonly pkcs12: string; readonly passphrase?: string }

/** A change that is about to be written: a key of the store, and what is there before and after, without secrets. */
export interface CertificateChange {
  readonly key: string
  readonly before?: object
  readonly after?: object
}

/** Called when all checks have passed, and before anything is written; where it rejects nothing is. */
export type ChangeNote = (change: CertificateChange) => Promise<void>

/** By what somebody may write. */
export interface WriteRight {
  readonly note: ChangeNote
  /** The document that says whose the name is; absent where nothing does. */
  readonly basis?: { readonly key: string; readonly revision: number }
}

/** Rejects with a LandfallError; what may be asked by whom is the API's to know. */
export interface CertificateDesk {
  /** Looks at DNS anew. */
  check(hostname: string, signal: AbortSignal): Promise<CertificateCheck>
  /** What is known without asking anybody. */
  view(hostname: string): Promise<CertificateCheck>
  /** Checks chain, key, names and times; replaces what was uploaded before. Writes nothing once the right's basis has changed. */
  upload(hostname: string, upload: CertificateUpload, right: WriteRight): Promise<CertificateCheck>
  /** Takes an uploaded one away; false when there was none. */
  remove(hostname: string, note: ChangeNote): Promise<boolean>
  /** Orders a new one at once; budgets still count. */
  renew(hostname: string, note: ChangeNote): Promise<CertificateCheck>
}
