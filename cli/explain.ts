/** Errors as people and scripts read them on standard error. */

import { LandfallError } from '../lib/errors.ts'
import { problemOf } from '../lib/problem.ts'
import { ApiRefusal, CliError } from './errors.ts'
import { EXIT, type ExitCode, exitCodeOf } from './exit-codes.ts'
import { harmless } from './text-table.ts'

export interface Explanation {
  readonly text: string
  readonly exitCode: ExitCode
}

export interface Telling {
  readonly isJson: boolean
  /** A command that shows what there is, for names that are not found. */
  readonly listing: string | undefined
}

/** With `isJson` the problem as one line of JSON, else a few lines: title, detail, next step, code, request id. */
export function explain(error: unknown, { isJson, listing }: Telling): Explanation {
  const exitCode = findExitCode(error)
  if (isJson) return { text: JSON.stringify(toProblem(error)), exitCode }
  return { text: toLines(error, listing).join('\n'), exitCode }
}

function findExitCode(error: unknown): ExitCode {
  if (error instanceof ApiRefusal || error instanceof CliError) return error.exitCode
  return error instanceof LandfallError ? exitCodeOf(error.fault.status) : EXIT.failed
}

function toProblem(error: unknown): object {
  if (error instanceof ApiRefusal) return error.problem
  if (error instanceof LandfallError) {
    const { type: _type, status: _status, ...problem } = problemOf(error)
    return problem
  }
  return { title: String(error), code: 'cli_bug' }
}

function toLines(error: unknown, listing: string | undefined): string[] {
  if (!(error instanceof LandfallError)) {
    return [`landfall: ${harmless(String(error))}`, '  This is a fault of the command line itself (cli_bug).']
  }
  const { fault, detail, code } = error
  const { field, requestId } = error instanceof ApiRefusal ? error.problem : {}
  const isMissing = exitCodeOf(fault.status) === EXIT.notFound && listing !== undefined
  const next = isMissing ? `"${listing}" shows what there is.` : fault.next
  const about = [code, ...(requestId === undefined ? [] : [`request ${requestId}`])].join(', ')
  return [
    `landfall: ${harmless(fault.title)}`,
    ...(detail === undefined || detail === fault.title ? [] : [`  ${harmless(detail)}`]),
    ...(field === undefined || field === '' ? [] : [`  field: ${harmless(field)}`]),
    ...(next === '' ? [] : [`  next: ${harmless(next)}`]),
    `  (${harmless(about)})`,
  ]
}
