/** What tokens for a VM can be narrowed to, whoever signs them. */

import { CTX, METHOD, PATH_PREFIX, PORT, THUMBPRINT } from '../kinds.ts'

export const LIMIT_OPTIONS = {
  port: {
    kind: PORT,
    summary: 'A port that it is for, also under its own host name of the VM, else all',
    isRepeated: true,
  },
  method: { kind: METHOD, summary: 'A method that it is for, as GET, else all', isRepeated: true },
  path: { kind: PATH_PREFIX, summary: 'The start of the paths that it is for, as /api, else all' },
  ctx: { kind: CTX, summary: 'A text that the VM gets with each request, as X-Landfall-Token-Ctx' },
  'key-thumbprint': {
    kind: THUMBPRINT,
    summary: 'The key that requests with it have to be signed with (DPoP): the SHA-256 thumbprint of its JWK',
  },
} as const
