/** What the exit status of a command says. */

export const EXIT = {
  ok: 0,
  refused: 1,
  usage: 2,
  unauthorized: 3,
  notFound: 4,
  conflict: 5,
  failed: 6,
  timedOut: 7,
  interrupted: 130,
} as const

export type ExitCode = (typeof EXIT)[keyof typeof EXIT]

/** For `landfall help exit-codes` and docs/cli.md. */
export const EXIT_MEANINGS: Readonly<Record<ExitCode, string>> = {
  [EXIT.ok]: 'done',
  [EXIT.refused]: 'the API refused the request; sent again without a change it is refused again',
  [EXIT.usage]: 'the command line is wrong; nothing was sent',
  [EXIT.unauthorized]: 'there is no token, or the token does not allow this',
  [EXIT.notFound]: 'there is nothing of that name',
  [EXIT.conflict]: 'the name is taken, or somebody else changed it meanwhile',
  [EXIT.failed]: 'the server or the network failed, or there were too many requests; a retry may help',
  [EXIT.timedOut]: 'what was waited for did not come in time; it may still come',
  [EXIT.interrupted]: 'Ctrl-C',
}

const BY_STATUS: Readonly<Record<number, ExitCode>> = {
  401: EXIT.unauthorized,
  403: EXIT.unauthorized,
  404: EXIT.notFound,
  409: EXIT.conflict,
  412: EXIT.conflict,
  429: EXIT.failed,
  504: EXIT.timedOut,
}

/** For an answer of the API that is not a good one. */
export function exitCodeOf(status: number): ExitCode {
  return BY_STATUS[status] ?? (status >= 400 && status < 500 ? EXIT.refused : EXIT.failed)
}
