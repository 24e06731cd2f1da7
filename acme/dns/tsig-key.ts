/** The shared key of DNS updates as BIND's `tsig-keygen` writes it: `key "name" { algorithm hmac-sha256; secret "…"; };`. */

import { AcmeError } from '../errors.ts'
import { readSettingFile } from '../setting-file.ts'
import { TSIG_ALGORITHMS, type TsigAlgorithm, type TsigKey } from './tsig.ts'
import { toWireName } from './wire.ts'

const MAX_BYTES = 16_384
/** RFC 8945 section 8 wants as many bits as the digest has; below half of the smallest one it is a mistake. */
const MIN_SECRET_BYTES = 16
const COMMENT = /\/\*[\s\S]*?\*\/|(?:\/\/|#).*$/gm
const KEY = /\bkey\s+("[^"]+"|[^\s"{;]+)\s*\{([^{}]*)\}\s*;/g
const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/

/** @throws AcmeError certificate_setting when the file cannot be read, or has not exactly one key that can be used */
export async function loadTsigKey(path: string): Promise<TsigKey> {
  const key = parseTsigKey(await readSettingFile(path, MAX_BYTES))
  if (typeof key !== 'string') return key
  throw new AcmeError('certificate_setting', { detail: `${path}: ${key}` })
}

/** The key, or what is wrong with the text; never the secret. */
function parseTsigKey(text: string): TsigKey | string {
  const blocks = [...withoutComments(text).matchAll(KEY)]
  const [block] = blocks
  if (block === undefined || blocks.length > 1) return `it has ${blocks.length} keys, one is wanted`
  const name = unquote(block[1] ?? '').toLowerCase()
  const body = block[2] ?? ''
  const algorithm = findWord(body, 'algorithm').toLowerCase().replace(/\.$/, '')
  if (!isAlgorithm(algorithm)) return `the algorithm must be ${Object.keys(TSIG_ALGORITHMS).join(', ')}`
  const secret = findWord(body, 'secret')
  const bytes = Buffer.from(BASE64.test(secret) ? secret : '', 'base64')
  if (bytes.length < MIN_SECRET_BYTES) return `the secret must be ${MIN_SECRET_BYTES} bytes or more in base64`
  return isName(name) ? { name, algorithm, secret: bytes } : 'the name of the key cannot be one in DNS'
}

/** Quoted text stays: base64 has `//`. */
function withoutComments(text: string): string {
  return text
    .replace(/"[^"\n]*"/g, (quoted) => quoted.replaceAll('/', '\0'))
    .replace(COMMENT, '')
    .replaceAll('\0', '/')
}

function findWord(body: string, word: string): string {
  const found = new RegExp(`(?:^|[\\s;])${word}\\s+("[^"]*"|[^\\s;"]+)\\s*;`).exec(body)
  return unquote(found?.[1] ?? '')
}

function unquote(text: string): string {
  return text.replace(/^"|"$/g, '')
}

function isAlgorithm(text: string): text is TsigAlgorithm {
  return Object.hasOwn(TSIG_ALGORITHMS, text)
}

function isName(name: string): boolean {
  try {
    return toWireName(name).length > 1
  } catch {
    return false
  }
}
