/** What each guarded proxy has to prove before it is timed: it lets a good token in, and nothing else. */

import { BenchError } from '../frame/benchmark.ts'
import { type Question, sendRequest } from '../frame/request.ts'
import { BACKEND_BODY } from '../proxies/backend.ts'
import type { AuthLineup, Candidate } from './lineup.ts'

/** @throws BenchError that names the answers that are wrong */
export async function checkCandidate(
  { proxy, isGuarded }: Candidate,
  { hostname, caPem, tokens, signal }: AuthLineup & { readonly signal: AbortSignal },
): Promise<void> {
  const ask = async (headers: Question['headers'] = {}) => {
    const question = { protocol: 'TLS h1', port: proxy.ports.tls, hostname, caPem, signal } as const
    const { status, body } = await sendRequest({ ...question, path: '/', headers })
    return status === 200 && body === BACKEND_BODY ? 'in' : `${status}`
  }
  const bearer = (token: string) => ({ authorization: `Bearer ${token}` })
  const stranger = isGuarded ? '401' : 'in'
  const [good = '', other = ''] = tokens.list
  const answers = [
    ['a good token', await ask(bearer(good)), 'in'],
    ['another good token', await ask(bearer(other)), 'in'],
    ['no token', await ask(), stranger],
    ['a forged token', await ask(bearer(tokens.forged)), stranger],
    ['a token cut short', await ask(bearer(good.slice(0, -4))), stranger],
  ]
  const faults = answers.filter(([, given, wanted]) => given !== wanted)
  if (faults.length > 0)
    throw new BenchError(
      `${proxy.name}: ${faults.map(([what, given, wanted]) => `${what}: ${given}, not ${wanted}`).join('; ')}`,
    )
}
