/** Reads external accounts (RFC 8555 section 7.3.4), which some CAs want to know an account by. */

import { AcmeError } from '../errors.ts'
import { readSettingFile } from '../setting-file.ts'

export interface ExternalAccount {
  readonly kid: string
  /** Base64url, as CAs hand it out. */
  readonly hmacKey: string
}

const MAX_BYTES = 65_536
const KID = /^[\x21-\x7e]{1,256}$/
const HMAC_KEY = /^[A-Za-z0-9_+/-]{16,1024}={0,2}$/

/**
 * By directory. One account a line: the directory, the key's id, the HMAC key; `#` begins a comment.
 * @throws AcmeError `certificate_setting`, without any part of a key
 */
export async function loadExternalAccounts(file: string): Promise<ReadonlyMap<string, ExternalAccount>> {
  if (file === '') return new Map()
  const lines = (await readSettingFile(file, MAX_BYTES)).split('\n').map((line) => line.trim())
  const accounts = lines.flatMap((line, index) =>
    line === '' || line.startsWith('#') ? [] : [parseLine(line, `${file}, line ${index + 1}`)],
  )
  return new Map(accounts)
}

function parseLine(line: string, place: string): readonly [string, ExternalAccount] {
  const [directory = '', kid = '', hmacKey = '', ...rest] = line.split(/\s+/)
  if (!URL.canParse(directory)) throw unusable(`${place}: it does not begin with the URL of a directory`)
  if (rest.length > 0 || !KID.test(kid) || !HMAC_KEY.test(hmacKey))
    throw unusable(`${place}: it is not a directory, a key id and an HMAC key in base64url`)
  const base64url = hmacKey.replace(/\+/g, '-').replace(/\//g, '_').replace(/=+$/, '')
  return [directory, { kid, hmacKey: base64url }]
}

function unusable(detail: string): AcmeError {
  return new AcmeError('certificate_setting', { detail })
}
