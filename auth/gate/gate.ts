/** Decides for each request whether it may pass and as whom, and whether what is open may stay so; from memory, wherever it can. */

import type { Access } from '../access.ts'
import { AuthError } from '../errors.ts'
import type { Identity } from '../identity.ts'
import { Audiences } from '../tokens/audiences.ts'
import type { Authenticator } from '../tokens/authenticator.ts'
import type { ProofDemand } from '../tokens/proof.ts'
import type { Verified } from '../tokens/token-identity.ts'
import type { LimitedRequest } from '../tokens/token-limits.ts'
import { findRight, type GuardedRoute, type Right, type Role } from './authorize.ts'
import { ConnectionNote } from './connection-note.ts'
import {
  type Credential,
  type CredentialRequest,
  type CredentialRoute,
  findCredential,
  isPlainlyOwn,
  type VmOf,
} from './credentials.ts'
import { createFreshness, type Freshness, type FreshnessDeps, type FreshnessSettings } from './freshness.ts'
import {
  checkBounds,
  checkPlace,
  checkPort,
  checkRight,
  checkTunnel,
  needsProof,
  passAfter,
  passAsStranger,
} from './passage-rules.ts'
import { IdentityPassage, linesOf, type STRANGER, takesOf } from './passages.ts'

/** The part of a request that is looked at; proxy's fits. */
export interface GateRequest extends CredentialRequest, LimitedRequest {
  readonly authority: { readonly host: string; readonly text: string }
  readonly fields: CredentialRequest['fields'] & { readonly proof: string }
  /** `lastPassage` is this gate's own note. */
  readonly client: { lastPassage: object | undefined }
}

/** A row of the route table: the same object until it changes. */
export interface GateRoute extends CredentialRoute, GuardedRoute {
  readonly port?: number
}

export type GatePassage = typeof STRANGER | IdentityPassage

export interface GateDeps {
  readonly access: Access
  readonly routes: FreshnessDeps['routes']
  readonly authenticator: Authenticator
  /** `find`: the same text until there is a newer one; undefined when it has to be signed first. */
  readonly assertions: {
    find(identity: Identity, host: string): string | undefined
    sign(identity: Identity, host: string): Promise<string>
  }
  readonly proofs: { check(demand: ProofDemand): Promise<void> }
  readonly vmOf: VmOf
  /** Unix milliseconds. */
  readonly now?: () => number
}

/** The assertion is asked for anew that often. */
const LINES_MS = 1_000

export interface Gate {
  /**
   * From memory; undefined when that takes a signature check or a new assertion: then `decide`.
   * @throws AuthError
   */
  find(request: GateRequest, route: GateRoute): GatePassage | undefined
  /** Rejects with AuthError. */
  decide(request: GateRequest, route: GateRoute, clientAddress: string): Promise<GatePassage>
  /** Whether what passed may stay open; `route` is undefined when the name leads nowhere any more. @throws AuthError */
  recheck(passage: object, request: { readonly isConnect: boolean }, route: GateRoute | undefined): void
  /** Calls `ring` when any passage may have ended, other than by a change of its row. Returns what ends it. */
  onChange(ring: () => void): () => void
}

export function createGate(deps: GateDeps, settings: FreshnessSettings): Gate {
  return new MemoryGate(deps, settings)
}

/** One request at one route, while it is decided. */
interface Visit {
  readonly request: GateRequest
  readonly route: GateRoute
  readonly credential: Credential
}

class MemoryGate implements Gate {
  readonly #deps: GateDeps
  readonly #access: Access
  readonly #fresh: Freshness
  readonly #audiences: Audiences
  readonly #now: () => number

  constructor(deps: GateDeps, settings: FreshnessSettings) {
    this.#deps = deps
    this.#access = deps.access
    this.#fresh = createFreshness(deps, settings)
    this.#audiences = new Audiences(deps)
    this.#now = deps.now ?? Date.now
  }

  find(request: GateRequest, route: GateRoute): GatePassage | undefined {
    const note = request.client.lastPassage
    if (note instanceof ConnectionNote && note.isOf(request) && this.#isGood(note.passage, route)) {
      if (!request.isConnect && (!note.isCookie || isPlainlyOwn(request))) {
        checkBounds(note.passage, request, route)
        return note.passage
      }
    }
    return this.#findAnew(request, route)
  }

  async decide(request: GateRequest, route: GateRoute, clientAddress: string): Promise<GatePassage> {
    const credential = findCredential(request, route, this.#deps.vmOf)
    if (credential === undefined) return passAsStranger(route)
    const visit = { request, route, credential }
    try {
      this.#checkFresh()
      return await this.#verify(visit, clientAddress)
    } catch (error) {
      return passAfter(error, credential, route)
    }
  }

  recheck(
    passage: object,
    { isConnect }: { readonly isConnect: boolean },
    route: GateRoute | undefined,
  ): void {
    if (route === undefined) throw new AuthError('auth_forbidden', 'route-gone')
    const isPublic = route.visibility === 'public'
    if (!(passage instanceof IdentityPassage)) {
      if (!isPublic) throw new AuthError('auth_required', 'private-now')
      return
    }
    if (!isPublic) this.#checkFresh()
    const role = this.#isRechecked(passage, route)
      ? passage.recheckedRole
      : this.#recheckRight(passage, route)
    if (isConnect) checkTunnel(role, route)
  }

  onChange(ring: () => void): () => void {
    return this.#access.onChange(ring)
  }

  #checkFresh(): void {
    if (!this.#fresh.isFresh(this.#now())) throw new AuthError('auth_stale', 'table-too-old')
  }

  #isGood(passage: IdentityPassage, route: GateRoute): boolean {
    const now = this.#now()
    return (
      passage.row === route &&
      passage.version === this.#access.version &&
      now < passage.goodUntil &&
      now >= passage.decidedAt &&
      this.#fresh.isFresh(now)
    )
  }

  #isRechecked(passage: IdentityPassage, route: GateRoute): boolean {
    return (
      passage.recheckedRow === route &&
      passage.recheckedVersion === this.#access.version &&
      this.#now() < passage.recheckedUntil
    )
  }

  #recheckRight(passage: IdentityPassage, route: GateRoute): Role | undefined {
    const endsAt = this.#deps.authenticator.check(passage.identity)
    checkPlace(passage.identity, route)
    const right = this.#findRightOfOpen(passage, route)
    checkRight(passage.identity, right, route)
    passage.recheckedRow = route
    passage.recheckedVersion = this.#access.version
    passage.recheckedRole = right?.role
    passage.recheckedUntil = Math.min(endsAt, right?.endsAt ?? Number.POSITIVE_INFINITY)
    return right?.role
  }

  #findAnew(request: GateRequest, route: GateRoute): GatePassage | undefined {
    const credential = findCredential(request, route, this.#deps.vmOf)
    if (credential === undefined) return passAsStranger(route)
    const visit = { request, route, credential }
    try {
      this.#checkFresh()
      const identity = this.#audiences.find(visit)
      if (identity === undefined || needsProof(credential, request.fields.proofCount, identity))
        return undefined
      return this.#pass(visit, identity)
    } catch (error) {
      return passAfter(error, credential, route)
    }
  }

  async #verify(visit: Visit, clientAddress: string): Promise<GatePassage> {
    const { authenticator, assertions } = this.#deps
    const { request, credential } = visit
    const { host } = request.authority
    const identity = await this.#audiences.verify(visit, clientAddress)
    if (needsProof(credential, request.fields.proofCount, identity)) {
      await authenticator.spend(clientAddress, () => this.#deps.proofs.check(proofDemandOf(visit, identity)))
    }
    const passage = this.#pass(visit, identity)
    if (passage !== undefined) return passage
    await assertions.sign(identity, host)
    const signed = this.#pass(visit, identity)
    if (signed === undefined) throw new AuthError('auth_stale', 'no-assertion')
    return signed
  }

  /** Undefined while there is no assertion. @throws AuthError */
  #pass(visit: Visit, identity: Verified): IdentityPassage | undefined {
    const { request, route, credential } = visit
    const passage = this.#findPassage(visit, identity)
    if (passage === undefined) return undefined
    checkBounds(passage, request, route)
    if (!request.isConnect && identity.proofThumbprint === undefined) {
      request.client.lastPassage = new ConnectionNote(request, credential.field === 'cookie', passage)
    }
    return passage
  }

  #findPassage({ request, route, credential }: Visit, identity: Verified): IdentityPassage | undefined {
    const { host } = request.authority
    const takes = takesOf(credential)
    const last = identity.lastPassage instanceof IdentityPassage ? identity.lastPassage : undefined
    if (last !== undefined && last.takes === takes && last.host === host && this.#isGood(last, route))
      return last
    const endsAt = this.#deps.authenticator.check(identity)
    checkPlace(identity, route)
    const right = this.#findRight(identity, route)
    // Its own bounds are told of before the grant, which is another one for each port.
    checkPort(identity.limits, route)
    checkRight(identity, right, route)
    const assertion = this.#deps.assertions.find(identity, host)
    if (assertion === undefined) return undefined
    const lines = last?.assertion === assertion ? last.lines : linesOf(identity, assertion)
    const rightUntil = Math.min(endsAt, right?.endsAt ?? Number.POSITIVE_INFINITY)
    const found = { identity, host, takes, assertion, row: route, role: right?.role }
    const passage = new IdentityPassage({ ...found, ...this.#momentOf(rightUntil) }, lines, rightUntil)
    identity.lastPassage = passage
    return passage
  }

  /** Under which table it is decided now, and until when that is not asked again. */
  #momentOf(rightUntil: number) {
    const nowMs = this.#now()
    return {
      version: this.#access.version,
      decidedAt: nowMs,
      goodUntil: Math.min(rightUntil, nowMs + LINES_MS),
    }
  }

  #findRight(identity: Verified, route: GuardedRoute): Right | undefined {
    return findRight(identity, route, { access: this.#access, nowMs: this.#now() })
  }

  /** The grants of a row are those of its port: when it leads to another port now, they say nothing of what is open. */
  #findRightOfOpen({ identity, row }: IdentityPassage, route: GateRoute): Right | undefined {
    const { grants, ...bare } = route
    const isSame = row.vm === route.vm && row.port === route.port
    if (isSame) checkPort(identity.limits, route)
    return this.#findRight(identity, isSame ? route : bare)
  }
}

function proofDemandOf({ request, credential }: Visit, { proofThumbprint = '' }: Verified): ProofDemand {
  const { authority, fields, method, target } = request
  return {
    proof: fields.proof,
    token: credential.text,
    thumbprint: proofThumbprint,
    method,
    host: authority.text,
    target,
  }
}
