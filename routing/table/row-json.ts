/** A route record as a row holds it: a JSON list of its values, without the names, which take more room than they. */

import { ROUTE, type RouteRecord } from '../records/records.ts'

/** In the order of the values; the host name stands beside the row. */
export const ROW_FIELDS: readonly string[] = Object.keys(ROUTE.properties).filter(
  (name) => name !== 'hostname',
)

export function toRowJson(record: RouteRecord): string {
  const named: Readonly<Record<string, unknown>> = record
  const values = ROW_FIELDS.map((name) => named[name])
  while (values.length > 0 && values.at(-1) === undefined) values.pop()
  return JSON.stringify(values)
}

/** The record without its host name; only what `toRowJson` made is sure to be one. @throws SyntaxError */
export function parseRowJson(json: string, fields = ROW_FIELDS): Record<string, unknown> {
  const values: unknown = JSON.parse(json)
  if (!Array.isArray(values)) throw new SyntaxError('a row is a list of values')
  const record: Record<string, unknown> = {}
  for (const [index, name] of fields.entries()) {
    const value: unknown = values[index]
    if (value !== undefined && value !== null) record[name] = value
  }
  return record
}
