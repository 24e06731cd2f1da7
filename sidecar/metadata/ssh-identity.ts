/** A VM's SSH host key: made once, kept in the VM's folder, and given to the guest at each boot. */

import { generateKeyPairSync } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { unless } from '../../lib/node-error.ts'
import { createPrivateFile } from '../../lib/private-file.ts'
import { SidecarError } from '../errors.ts'

export interface SshIdentity {
  /** `ssh-ed25519 AAAA…`, without a comment. */
  readonly publicKey: string
  /** The private key as OpenSSH's PROTOCOL.key describes it, in PEM. */
  readonly openssh: string
  /** The same key as dropbear(8) stores it. */
  readonly dropbear: Uint8Array
}

const TYPE = 'ssh-ed25519'
const MAGIC = 'openssh-key-v1\0'
const PEM = /^-----BEGIN OPENSSH PRIVATE KEY-----\n([A-Za-z0-9+/=\n]+)-----END OPENSSH PRIVATE KEY-----\n$/
const KEY_BYTES = 32
const BLOCK_BYTES = 8
const LINE_CHARACTERS = 70
const FILE = 'ssh_host_ed25519_key'

/** Makes the key if there is none; `folder` is the VM's `identity`. @throws SidecarError host_file_failed */
export async function openIdentity(folder: string): Promise<SshIdentity> {
  const file = join(folder, FILE)
  try {
    const known = await readFile(file, 'latin1').catch(unless('ENOENT'))
    if (known === undefined) await createPrivateFile(file, formatOpenssh(generateKey()))
    return parseIdentity(known ?? (await readFile(file, 'latin1')))
  } catch (cause) {
    throw new SidecarError('host_file_failed', { cause, detail: `${file}: ${String(cause)}` })
  }
}

interface Ed25519Key {
  readonly secret: Buffer
  readonly open: Buffer
}

function generateKey(): Ed25519Key {
  const { d = '', x = '' } = generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' })
  return { secret: Buffer.from(d, 'base64url'), open: Buffer.from(x, 'base64url') }
}

/** @throws Error when it is not a file that `formatOpenssh` wrote */
function parseIdentity(pem: string): SshIdentity {
  const bytes = Buffer.from(PEM.exec(pem)?.[1] ?? '', 'base64')
  // The file is of our own making: its parts are where they always are, and all of it is compared.
  const at = bytes.lastIndexOf(TYPE) + TYPE.length + 4
  const open = bytes.subarray(at, at + KEY_BYTES)
  const secret = bytes.subarray(at + KEY_BYTES + 4, at + 2 * KEY_BYTES + 4)
  const key = { secret, open }
  if (open.length < KEY_BYTES || secret.length < KEY_BYTES || formatOpenssh(key) !== pem) {
    throw new Error('it is not a whole ed25519 key; without it, SSH clients of this VM would be warned')
  }
  const publicKey = `${TYPE} ${formatPublic(key).toString('base64')}`
  return { publicKey, openssh: pem, dropbear: Buffer.concat([...strings(TYPE), ...strings(pairOf(key))]) }
}

function formatOpenssh(key: Ed25519Key): string {
  const open = formatPublic(key)
  // Twice the same number tells a reader of an encrypted file that the passphrase was right; this one has none.
  const check = key.open.subarray(0, 4)
  const secret = Buffer.concat([check, check, open, ...strings(pairOf(key), '')])
  const padding = Buffer.from(
    Array.from({ length: (BLOCK_BYTES - (secret.length % BLOCK_BYTES)) % BLOCK_BYTES }, (_, at) => at + 1),
  )
  const body = Buffer.concat([
    Buffer.from(MAGIC, 'latin1'),
    ...strings('none', 'none', ''),
    uint32(1),
    ...strings(open, Buffer.concat([secret, padding])),
  ])
  const lines = body.toString('base64').match(new RegExp(`.{1,${LINE_CHARACTERS}}`, 'g')) ?? []
  return ['-----BEGIN OPENSSH PRIVATE KEY-----', ...lines, '-----END OPENSSH PRIVATE KEY-----', ''].join('\n')
}

function pairOf({ secret, open }: Ed25519Key): Buffer {
  return Buffer.concat([secret, open])
}

function formatPublic({ open }: Ed25519Key): Buffer {
  return Buffer.concat(strings(TYPE, open))
}

/** RFC 4251 section 5. */
function strings(...values: readonly (string | Uint8Array)[]): Buffer[] {
  return values.flatMap((value) => {
    const bytes = Buffer.from(value)
    return [uint32(bytes.length), bytes]
  })
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}
