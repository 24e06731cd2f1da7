/** A gate for tests of the proxy alone: `X-Landfall-Authorization: Bearer NAME` is NAME, and the test says who may what. */

import { AuthError, type FaultCode } from '../../auth/errors.ts'
import type { Gate, GateRequest, Passage } from '../../proxy/gate.ts'
import type { RelayRoute } from '../../proxy/upstream.ts'

export interface ScriptedGate extends Gate {
  /** Names that may pass private ports. */
  readonly guests: Set<string>
  /** Names of which the first request waits until the test resolves; the number is how many wait or waited. */
  readonly unknown: Map<string, PromiseWithResolvers<void>>
  readonly decided: string[]
  /** Whose open exchanges were looked at again. */
  readonly rechecked: (string | undefined)[]
  /** What the VM is told, and whether Authorization and DPoP are taken from it. */
  lines: (name: string) => string
  takes: Passage['takes']
  /** What is thrown for those who may not. */
  refusal: FaultCode
  ring(): void
}

export const TAKEN = { authorization: true, proof: true } as const
const LEFT = { authorization: false, proof: false } as const

export function scriptedGate(...guests: string[]): ScriptedGate {
  const rings = new Set<() => void>()
  const gate: ScriptedGate = {
    guests: new Set(guests),
    unknown: new Map(),
    decided: [],
    rechecked: [],
    lines: (name) => `X-Landfall-User: ${name}\r\n`,
    takes: LEFT,
    refusal: 'auth_required',
    ring: () => {
      for (const ring of rings) ring()
    },
    find(request, route) {
      const name = nameIn(request)
      if (name !== undefined && gate.unknown.has(name)) return undefined
      return passageOf(gate, name, route)
    },
    async decide(request, route) {
      const name = nameIn(request) ?? ''
      gate.decided.push(name)
      await gate.unknown.get(name)?.promise
      gate.unknown.delete(name)
      return passageOf(gate, name, route)
    },
    recheck(passage, _request, route) {
      gate.rechecked.push(passage.subject)
      if (route === undefined) throw new AuthError('auth_required', 'no-row')
      checkGuest(gate, passage.subject, route)
    },
    onChange(ring) {
      rings.add(ring)
      return () => rings.delete(ring)
    },
  }
  return gate
}

function nameIn({ fields }: Pick<GateRequest, 'fields'>): string | undefined {
  return /^Bearer (.+)$/.exec(fields.ownAuthorization)?.[1]
}

function passageOf(gate: ScriptedGate, name: string | undefined, route: RelayRoute): Passage {
  checkGuest(gate, name, route)
  if (name === undefined) return { lines: '', takes: LEFT, subject: undefined, method: 'none' }
  return { lines: gate.lines(name), takes: gate.takes, subject: name, method: 'token' }
}

function checkGuest({ guests, refusal }: ScriptedGate, name: string | undefined, route: RelayRoute): void {
  if (name !== undefined && guests.has(name)) return
  if (route.visibility === 'public' && name === undefined) return
  throw new AuthError(refusal, name === undefined ? 'nothing' : 'not-a-guest')
}
