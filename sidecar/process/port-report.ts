/** What a VM's program says of its ports. Whatever else it says is refused: the program may be anybody's. */

import type { Address } from '../../routing/records/records.ts'

/** As many as a report to the table may hold. */
const MAX_PORTS = 1_000
/** Room for the longest report: a port takes up to 15 characters. */
export const MAX_REPORT_CHARACTERS = 16_384

/** Guest port → loopback address, or undefined when `text` is anything but `{ "ports": { "8000": 41231 } }`. */
export function parsePortReport(text: string): Readonly<Record<string, Address>> | undefined {
  const ports = portsOf(parseJson(text))
  const entries = ports === undefined ? [] : Object.entries(ports)
  if (entries.length === 0 || entries.length > MAX_PORTS) return undefined
  const isReport = entries.every(([guest, port]) => isPortName(guest) && isPort(port))
  return isReport
    ? Object.fromEntries(entries.map(([guest, port]) => [guest, { host: '127.0.0.1', port: Number(port) }]))
    : undefined
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function portsOf(report: unknown): object | undefined {
  if (typeof report !== 'object' || report === null || !('ports' in report)) return undefined
  return typeof report.ports === 'object' && report.ports !== null ? report.ports : undefined
}

function isPortName(text: string): boolean {
  return /^[1-9]\d{0,4}$/.test(text) && isPort(Number(text))
}

function isPort(value: unknown): boolean {
  return typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= 65_535
}
