/** The answer to bytes that never became a request: a whole HTTP/1.1 response as text. */

import { STATUS_CODES } from 'node:http'
import { problemOf } from '../lib/problem.ts'
import type { RelayError } from './errors.ts'
import { toLines } from './field-lines.ts'
import { errorFields } from './refusal.ts'

export function rawRefusal(
  error: RelayError,
  { id, edgeName }: { readonly id: string; readonly edgeName: string },
): string {
  const body = `${JSON.stringify(problemOf(error, id))}\n`
  const { status } = error.fault
  const head = `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${toLines(errorFields(error, id, edgeName))}`
  const length = Buffer.byteLength(body)
  return `${head}content-type: application/problem+json\r\ncache-control: no-store\r\ncontent-length: ${length}\r\nconnection: close\r\n\r\n${body}`
}
