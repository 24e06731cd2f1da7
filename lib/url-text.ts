/** Texts that are URLs or e-mail addresses. */

const LOOPBACK = /^(localhost|127\.[0-9.]+|\[::1\])$/
const EMAIL = /^[^\s@,;<>"]{1,64}@[^\s@,;<>"]+\.[^\s@,;<>".]+$/

/** An https URL with nothing but a place and a path; a server on this machine may do without the s. */
export function isSecureUrl(text: string): boolean {
  const url = URL.parse(text)
  if (url === null || url.search !== '' || url.hash !== '' || url.username !== '') return false
  return url.protocol === 'https:' || (url.protocol === 'http:' && LOOPBACK.test(url.hostname))
}

/** Without a password, which a list of settings would show. */
export function isSmtpUrl(text: string): boolean {
  const url = URL.parse(text)
  return url !== null && /^smtps?:$/.test(url.protocol) && url.hostname !== '' && url.password === ''
}

export function isEmail(text: string): boolean {
  return EMAIL.test(text)
}
