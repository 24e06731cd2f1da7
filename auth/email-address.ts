/** E-mail addresses in the one form that grants, sessions and mails are compared by. */

import { isIP } from 'node:net'
import { domainToASCII } from 'node:url'

/** RFC 5321 section 4.5.3.1.1 allows 64 bytes before the @; quoted names are left to those who want trouble. */
const ADDRESS = /^(?<name>[^\s"(),:;<>@[\\\]\p{C}]{1,64})@(?<host>[^@]+)$/u
const LABEL = '[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?'
const HOST = new RegExp(`^(?=.{1,253}$)${LABEL}(?:\\.${LABEL})+$`)
/** `domainToASCII` drops tabs, decodes %41 and cuts at / # and \: none of that may reach it. */
const FOREIGN_ASCII = /[^A-Za-z0-9.\-\u0080-\u{10ffff}]/u
const MAX_CHARACTERS = 254

/**
 * Lower case as a whole, the name in NFC, the host in A-labels; undefined for what is no address of somebody on the
 * Internet. What comes back holds no space, no control character and none of `"(),:;<>[\]`.
 */
export function toEmailAddress(text: string): string | undefined {
  const { name = '', host = '' } = ADDRESS.exec(text)?.groups ?? {}
  const hostname = toHost(host)
  const isDotted = name.startsWith('.') || name.endsWith('.') || name.includes('..')
  if (name === '' || isDotted || hostname === undefined) return undefined
  const address = `${name.toLowerCase().normalize('NFC')}@${hostname}`
  return address.length > MAX_CHARACTERS ? undefined : address
}

/**
 * The id of a user who is known by an address: the address itself where it is ASCII. Otherwise each byte of the name
 * that is not is written as %C3, in capitals, which no canonical address holds: two addresses never share an id.
 * Undefined when that is too long.
 */
export function toUserId(email: string): string | undefined {
  if (/^[\x21-\x7e]+$/.test(email)) return email
  const at = email.lastIndexOf('@')
  const id = `${encodeURIComponent(email.slice(0, at))}${email.slice(at)}`
  return id.length > MAX_CHARACTERS ? undefined : id
}

function toHost(text: string): string | undefined {
  if (FOREIGN_ASCII.test(text)) return undefined
  const host = domainToASCII(text).replace(/\.$/, '')
  return HOST.test(host) && isIP(host) === 0 ? host : undefined
}
