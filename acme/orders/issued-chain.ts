/** Looks at what a CA issued before it is put to use: a wrong chain would be served to everybody. */

import { createPublicKey, type KeyObject } from 'node:crypto'
import { AcmeError } from '../errors.ts'
import { checkMembers, readMembers, toChain } from '../imports/chain.ts'
import { checkLeaf } from '../imports/leaf-rules.ts'
import { OrderTrouble } from './order-trouble.ts'

export interface ExpectedLeaf {
  readonly names: readonly string[]
  /** The private key that the request was made with. */
  readonly key: KeyObject
  readonly nowMs: number
}

/** DER in base64, the leaf first, without the root. */
export interface IssuedChain {
  readonly chain: readonly string[]
  readonly notBefore: Date
  readonly notAfter: Date
}

/** By the rules of uploads. @throws OrderTrouble ca_nonsense when the chain does not fit the request, or cannot be served */
export function readIssuedChain(ders: readonly Buffer[], { names, key, nowMs }: ExpectedLeaf): IssuedChain {
  const publicKey = createPublicKey(key)
  try {
    const members = readMembers(ders)
    const chain = toChain(members, ({ certificate }) => publicKey.equals(certificate.publicKey))
    checkMembers(chain, nowMs)
    const [leaf] = chain
    checkLeaf(leaf, names)
    return {
      chain: chain.map(({ certificate }) => certificate.raw.toString('base64')),
      notBefore: leaf.certificate.validFromDate,
      notAfter: leaf.certificate.validToDate,
    }
  } catch (cause) {
    if (!(cause instanceof AcmeError)) throw cause
    const detail = `What was issued cannot be used: ${cause.detail}`
    throw new OrderTrouble({ code: 'ca_nonsense', detail, isOfCa: true }, { cause })
  }
}
