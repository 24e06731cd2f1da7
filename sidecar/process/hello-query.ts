/** Reads query values of the `hello` VM strictly: what is not understood is refused, never guessed. */

/** A query value is wrong; the message says which and what is allowed. */
export class QueryError extends Error {
  override readonly name = 'QueryError'
}

interface WholeNumber {
  readonly fallback: number
  readonly min?: number
  readonly max: number
}

/** @throws QueryError unless the value is absent or a whole number within the bounds */
export function intOf(query: URLSearchParams, name: string, { fallback, min = 0, max }: WholeNumber): number {
  const text = findOne(query, name)
  if (text === undefined) return fallback
  const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN
  if (value >= min && value <= max) return value
  throw new QueryError(`${name} must be a whole number from ${min} to ${max} (got "${text}")`)
}

/** @throws QueryError unless the value is absent or one of `choices`; absent means the first */
export function choiceOf<Choice extends string>(
  query: URLSearchParams,
  name: string,
  choices: readonly [Choice, ...Choice[]],
): Choice {
  const text = findOne(query, name)
  if (text === undefined) return choices[0]
  const found = choices.find((choice) => choice === text)
  if (found === undefined)
    throw new QueryError(`${name} must be one of ${choices.join(', ')} (got "${text}")`)
  return found
}

function findOne(query: URLSearchParams, name: string): string | undefined {
  const [text, ...others] = query.getAll(name)
  if (others.length > 0) throw new QueryError(`${name} must be given once`)
  return text
}
