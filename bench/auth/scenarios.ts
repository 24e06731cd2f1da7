/** What is asked of each proxy of the auth benchmark: with no check, with one token on all requests, with a thousand in turn. */

import type { Candidate } from './lineup.ts'

export interface AuthScenario {
  readonly name: string
  readonly tokens: 'one' | 'many'
  readonly isGuarded: boolean
}

export const SCENARIOS: readonly AuthScenario[] = [
  { name: 'no check', tokens: 'one', isGuarded: false },
  { name: 'one token', tokens: 'one', isGuarded: true },
  { name: '1,000 tokens', tokens: 'many', isGuarded: true },
]

export function candidatesOf(
  candidates: readonly Candidate[],
  { isGuarded }: Pick<AuthScenario, 'isGuarded'>,
): readonly Candidate[] {
  return candidates.filter((candidate) => candidate.isGuarded === isGuarded)
}
