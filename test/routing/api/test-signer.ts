/** A signer for tests in which signatures are not the matter: tokens that look like JWTs, and can be read back. */

import type { ApiDeps } from '../../../routing/api/context.ts'

type Signer = ApiDeps['signer']
export type Demand = Parameters<Signer['sign']>[0]

/** Everything that is asked for is in the token. */
export function createTestSigner(): Signer {
  return {
    sign: async (demand) => [{ typ: `landfall-${demand.kind}+jwt` }, demand, 'x'].map(encode).join('.'),
  }
}

/** What the token was asked for with. */
export function demandOf(token: unknown): Demand {
  const [, payload = ''] = String(token).split('.')
  return JSON.parse(Buffer.from(payload, 'base64url').toString())
}

function encode(part: unknown): string {
  return Buffer.from(JSON.stringify(part)).toString('base64url')
}
