/** The answer to bytes that never became a request: a whole HTTP/1.1 response as text. */

import { STATUS_CODES } from 'node:http'
import { problemOf } from '../lib/problem.ts'
import type { RelayError } from './errors.ts'
import { errorFields } from './refusal.ts'

export function rawRefusal(
  error: RelayError,
  { id, edgeName }: { readonly id: string; readonly edgeName: string },
): string {
  const body = `${JSON.stringify(problemOf(error, id))}\n`
  const fields = errorFields(error, id, edgeName)
  let head = `HTTP/1.1 ${error.fault.status} ${STATUS_CODES[error.fault.status]}\r\n`
  for (let at = 0; at + 1 < fields.length; at += 2) head += `${fields[at]}: ${fields[at + 1]}\r\n`
  const length = Buffer.byteLength(body)
  return `${head}content-type: application/problem+json\r\ncache-control: no-store\r\ncontent-length: ${length}\r\nconnection: close\r\n\r\n${body}`
}
