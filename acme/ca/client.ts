/** Makes clients of acme-client that share what is known of an authority: its directory, and unused nonces. */

import { Client } from 'acme-client'
import type { DirectoryDocument } from './ca-objects.ts'
import type { ExternalAccount } from './external-accounts.ts'
import type { Line } from './http.ts'

/** Half of them refused, as a server for tests may do, thirty in a row come once in 10^9 requests. */
const MAX_BAD_NONCES = 30

export interface ClientSettings {
  readonly keyPem: string
  readonly accountUrl?: string
  readonly externalAccount?: ExternalAccount
  readonly getDirectory: () => Promise<DirectoryDocument>
}

/** The parts of a client of version 5.4.0 that its types leave out. */
interface Insides {
  readonly http: {
    maxBadNonceRetries: number
    getDirectory(): Promise<object>
    getNonce(): Promise<string>
  }
  readonly api: {
    /** Sends it and keeps the URL of the answer; unlike the client's own, sends no second request for a known key. */
    createAccount(data: object): Promise<unknown>
  }
}

export type AcmeClient = Client & Insides

export function createClient(line: Line, settings: ClientSettings): AcmeClient {
  const { keyPem, accountUrl, externalAccount, getDirectory } = settings
  const client = new Client({
    directoryUrl: line.directory,
    accountKey: keyPem,
    ...(accountUrl !== undefined && { accountUrl }),
    ...(externalAccount && { externalAccountBinding: { ...externalAccount } }),
  }) as AcmeClient
  const { http } = client
  const fetchNonce = http.getNonce.bind(http)
  http.maxBadNonceRetries = MAX_BAD_NONCES
  http.getDirectory = getDirectory
  // Every answer brings a nonce (RFC 8555 section 6.5); asking for one each time would double the requests.
  http.getNonce = async () => line.nonces.pop() ?? fetchNonce()
  return client
}
