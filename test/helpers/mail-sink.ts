/** A real SMTP server on loopback that keeps every mail, decoded. */

import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import type { Readable } from 'node:stream'
import { SMTPServer, type SMTPServerOptions } from 'smtp-server'
import type { Test } from 'tap'
import { until } from './until.ts'

export interface Mail {
  /** Of the envelope. */
  readonly from: string
  readonly to: readonly string[]
  /** As it came, byte by byte as latin1. */
  readonly raw: string
  /** Fields by their name in lower case, unfolded and not decoded. */
  readonly headers: Readonly<Record<string, string>>
  /** The parts by type, as `text/plain`. */
  readonly parts: Readonly<Record<string, string>>
}

export interface MailSink {
  /** `smtp://127.0.0.1:<port>` */
  readonly url: string
  readonly mails: readonly Mail[]
  /** The mails that came, once there are so many. */
  readonly waitFor: (count: number) => Promise<readonly Mail[]>
}

export async function mailSinkFor(t: Test, options: SMTPServerOptions = {}): Promise<MailSink> {
  const mails: Mail[] = []
  const server = new SMTPServer({
    authOptional: true,
    disabledCommands: ['STARTTLS'],
    logger: false,
    onData: (stream, { envelope }, done) => {
      readRaw(stream).then((raw) => {
        const from = envelope.mailFrom === false ? '' : envelope.mailFrom.address
        mails.push({ from, to: envelope.rcptTo.map(({ address }) => address), raw, ...toParts(raw) })
        done()
      }, done)
    },
    ...options,
  })
  server.on('error', () => {})
  server.listen(0, '127.0.0.1')
  await once(server.server, 'listening')
  t.teardown(() => new Promise<void>((resolve) => server.close(resolve)))
  return {
    url: `smtp://127.0.0.1:${(server.server.address() as AddressInfo).port}`,
    mails,
    waitFor: async (count) => {
      await until(() => mails.length >= count, `${count} mails have come`)
      return mails
    },
  }
}

async function readRaw(stream: Readable): Promise<string> {
  return Buffer.concat(await stream.toArray()).toString('latin1')
}

/** As much of MIME (RFC 2045, 2046) as nodemailer writes. */
function toParts(raw: string): Pick<Mail, 'headers' | 'parts'> {
  const { headers, body } = splitEntity(raw)
  const boundary = /boundary="?([^";]+)"?/.exec(headers['content-type'] ?? '')?.[1]
  if (boundary === undefined) return { headers, parts: partOf(headers, body) }
  const entities = body
    .split(`--${boundary}`)
    .slice(1, -1)
    .map((text) => splitEntity(text.replace(/^\r\n/, '')))
  return {
    headers,
    parts: Object.assign({}, ...entities.map((entity) => partOf(entity.headers, entity.body))),
  }
}

function splitEntity(text: string): { headers: Record<string, string>; body: string } {
  const end = text.indexOf('\r\n\r\n')
  const lines = text
    .slice(0, end)
    .replace(/\r\n[ \t]+/g, ' ')
    .split('\r\n')
  const pairs = lines.map((line) => [
    line.split(':', 1)[0]?.toLowerCase(),
    line.slice(line.indexOf(':') + 1).trim(),
  ])
  return { headers: Object.fromEntries(pairs), body: text.slice(end + 4) }
}

function partOf(headers: Readonly<Record<string, string>>, body: string): Record<string, string> {
  const type = headers['content-type']?.split(';')[0] ?? 'text/plain'
  return { [type]: decode(body, headers['content-transfer-encoding'] ?? '7bit').replaceAll('\r\n', '\n') }
}

function decode(body: string, encoding: string): string {
  if (encoding === 'base64') return Buffer.from(body, 'base64').toString()
  if (encoding !== 'quoted-printable') return Buffer.from(body, 'latin1').toString()
  const bytes = body
    .replace(/=\r\n/g, '')
    .replace(/=([0-9A-F]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
  return Buffer.from(bytes, 'latin1').toString()
}
