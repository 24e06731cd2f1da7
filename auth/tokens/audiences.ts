/** Which host names a credential may be for: the one that was asked, or the VM's own where a token names the port. */

import { AuthError } from '../errors.ts'
import type { Credential, VmOf } from '../gate/credentials.ts'
import type { Authenticator } from './authenticator.ts'
import type { Verified } from './token-identity.ts'

export interface AudienceDeps {
  readonly authenticator: Pick<Authenticator, 'find' | 'verify'>
  readonly vmOf: VmOf
}

/** A credential that came with a request for a row. */
export interface Presented {
  readonly request: { readonly authority: { readonly host: string } }
  readonly route: { readonly vm?: string; readonly port?: number }
  readonly credential: Credential
}

/** `8000--web.example.test` is port 8000 of `web.example.test`. */
const PORT_HOST = /^\d{1,5}--(.+)$/

export class Audiences {
  readonly #deps: AudienceDeps

  constructor(deps: AudienceDeps) {
    this.#deps = deps
  }

  /** From memory. @throws AuthError `auth_invalid` */
  find(presented: Presented): Verified | undefined {
    const { request, credential } = presented
    const { authenticator } = this.#deps
    const identity = authenticator.find(credential, request.authority.host)
    if (identity !== undefined) return identity
    const ownHost = this.#findOwnHost(presented)
    const wider = ownHost === undefined ? undefined : authenticator.find(credential, ownHost)
    return wider !== undefined && isForPort(wider, presented) ? wider : undefined
  }

  /** Rejects with AuthError `auth_invalid`, `auth_busy`, `auth_stale`. */
  async verify(presented: Presented, clientAddress: string): Promise<Verified> {
    const { request, credential } = presented
    const { authenticator } = this.#deps
    try {
      return await authenticator.verify(credential, request.authority.host, clientAddress)
    } catch (error) {
      const isElsewhere = error instanceof AuthError && error.reason === 'wrong-aud'
      const ownHost = isElsewhere ? this.#findOwnHost(presented) : undefined
      if (ownHost === undefined) throw error
      const wider = await authenticator.verify(credential, ownHost, clientAddress)
      if (isForPort(wider, presented)) return wider
      throw error
    }
  }

  /** A cookie is for one host name whatever it says, as browsers keep it. */
  #findOwnHost({ request, route: { vm }, credential }: Presented): string | undefined {
    if (vm === undefined || credential.scheme === 'cookie') return undefined
    const ownHost = PORT_HOST.exec(request.authority.host)?.[1]
    return ownHost !== undefined && this.#deps.vmOf(ownHost) === vm ? ownHost : undefined
  }
}

function isForPort({ limits }: Verified, { route: { port } }: Presented): boolean {
  return port !== undefined && limits?.ports?.includes(port) === true
}
