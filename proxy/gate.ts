/** What the relay asks of authentication: may this request pass, as whom, and does that still hold. */

import type { ClientConnection } from './client-connection.ts'
import type { RequestFields } from './request-fields.ts'
import type { RelayRoute } from './upstream.ts'

/** The part of an exchange that is looked at. */
export interface GateRequest {
  readonly method: string
  readonly target: string
  readonly authority: { readonly host: string; readonly text: string }
  readonly fields: Pick<
    RequestFields,
    | 'cookie'
    | 'authorization'
    | 'authorizationCount'
    | 'ownAuthorization'
    | 'ownAuthorizationCount'
    | 'proof'
    | 'proofCount'
    | 'origin'
    | 'fetchSite'
    | 'fetchMode'
    | 'fetchDest'
  >
  readonly isUpgrade: boolean
  readonly isConnect: boolean
  readonly client: Pick<ClientConnection, 'lastPassage'>
}

/** A request that may pass. One object serves many requests, so nothing here is about a single one. */
export interface Passage {
  /** Header lines for the VM, each ending in CRLF; '' for a stranger. */
  readonly lines: string
  /** What the edge consumed of the request's fields, and the VM must not see. Our cookies and X-Landfall- fields never go on. */
  readonly takes: { readonly authorization: boolean; readonly proof: boolean }
  /** For the log: a user's id, `token:…`, `link:…`, `api:…`; undefined for a stranger. */
  readonly subject: string | undefined
  /** For the log and metrics: how it was proven. */
  readonly method: 'none' | 'cookie' | 'token' | 'self' | 'api' | 'link'
}

export interface Gate {
  /**
   * Decides from memory alone; undefined when that takes a signature check or a new assertion: then `decide`.
   * @throws LandfallError `auth_…`
   */
  find(request: GateRequest, route: RelayRoute): Passage | undefined
  /** `clientAddress` is whose budget a forged credential is charged to. Rejects with LandfallError `auth_…`. */
  decide(request: GateRequest, route: RelayRoute, clientAddress: string): Promise<Passage>
  /** Whether what passed may stay open; `route` is undefined when the name leads nowhere any more. @throws LandfallError */
  recheck(passage: Passage, request: Pick<GateRequest, 'isConnect'>, route: RelayRoute | undefined): void
  /** Calls `ring` when any passage may have ended, other than by a change of its row. Returns what ends it. */
  onChange(ring: () => void): () => void
}
