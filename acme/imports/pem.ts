/** Takes PEM apart (RFC 7468), and refuses what is not PEM instead of passing over it. */

import { refusal, shown } from './refusal.ts'

export interface PemBlock {
  readonly label: string
  readonly der: Buffer
  /** RFC 1421 headers, as of OpenSSL's old encrypted keys. */
  readonly hasHeaders: boolean
}

const BEGIN = /^-----BEGIN ([A-Z0-9 ]{1,40})-----$/
const HEADER = /^[A-Za-z][A-Za-z-]*: /
const BASE64 = /^[A-Za-z0-9+/]{1,1024}={0,2}$/
/** What OpenSSL writes beside the blocks, and comments. */
const REMARK = /^(?:#|Bag Attributes|Key Attributes|subject=|issuer=|\s*\d* ?[siav]:| +[\w. ]{1,40}:)/

/** `what` names the text in refusals: `certificate`. @throws AcmeError `certificate_invalid` */
export function parsePem(text: string, what: string): readonly PemBlock[] {
  const lines = text.replace(/^\u{feff}/u, '').split(/\r?\n/)
  const blocks: PemBlock[] = []
  for (let at = 0; at < lines.length; at += 1) {
    const line = (lines[at] ?? '').trimEnd()
    const label = BEGIN.exec(line)?.[1]
    if (label === undefined) {
      checkRemark(line, { what, number: at + 1 })
      continue
    }
    const end = lines.findIndex((other, index) => index > at && other.trimEnd().startsWith('-----'))
    if (end < 0 || lines[end]?.trimEnd() !== `-----END ${label}-----`)
      throw refusal(`In "${what}" the ${label} that begins in line ${at + 1} has no end.`)
    blocks.push(toBlock(label, lines.slice(at + 1, end), { what, number: at + 1 }))
    at = end
  }
  return blocks
}

interface Place {
  readonly what: string
  /** The first line is 1. */
  readonly number: number
}

function checkRemark(line: string, { what, number }: Place): void {
  if (line === '' || REMARK.test(line)) return
  throw refusal(
    `In "${what}" line ${number} is no PEM${number === 1 ? ': it begins with "-----BEGIN"' : ''}.`,
  )
}

function toBlock(label: string, lines: readonly string[], { what, number }: Place): PemBlock {
  const hasHeaders = HEADER.test(lines[0] ?? '')
  const body = hasHeaders ? lines.slice(lines.findIndex((line) => line.trim() === '') + 1) : lines
  const parts = body.map((line) => line.trim()).filter((line) => line !== '')
  const base64 = parts.join('')
  const isWhole = parts.every(
    (part, at) => BASE64.test(part) && (at === parts.length - 1 || !part.endsWith('=')),
  )
  const der = Buffer.from(base64, 'base64')
  if (!isWhole || der.toString('base64') !== base64)
    throw refusal(`In "${what}" the ${shown(label)} that begins in line ${number} is not base64.`)
  return { label, der, hasHeaders }
}
