/** The tokens of the auth benchmark: one user's key signs as many JWTs as are wanted, which every proxy verifies by the public key. */

import { generateKeyPairSync, type KeyObject, randomUUID } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { SignJWT } from 'jose'
import { toSshPublicKey } from '../../cli/ssh-public-key.ts'

export interface Tokens {
  /** PEM (SPKI) of the key that all are signed with: P-256. */
  readonly publicPemFile: string
  /** The same key in one line, as in id_ecdsa.pub. */
  readonly publicLine: string
  /** One a line. */
  readonly file: string
  readonly list: readonly string[]
  readonly user: string
  /** Of a token whose signature is wrong. */
  readonly forged: string
}

const LIFE = '1h'

/** @throws Error when the folder cannot be written to */
export async function makeTokens(
  folder: string,
  { audience, user, count }: { readonly audience: string; readonly user: string; readonly count: number },
): Promise<Tokens> {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const { blob, fingerprint: kid } = toSshPublicKey(privateKey)
  const sign = (key: KeyObject) =>
    new SignJWT({})
      .setProtectedHeader({ alg: 'ES256', typ: 'landfall-self+jwt', kid })
      .setIssuer(user)
      .setSubject(user)
      .setAudience(audience)
      .setJti(randomUUID())
      .setIssuedAt()
      .setExpirationTime(LIFE)
      .sign(key)
  const list = await Promise.all(Array.from({ length: count }, () => sign(privateKey)))
  const forged = await sign(generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey)
  const publicPemFile = join(folder, 'tokens.pub.pem')
  const file = join(folder, 'tokens.txt')
  await writeFile(publicPemFile, publicKey.export({ type: 'spki', format: 'pem' }))
  await writeFile(file, `${list.join('\n')}\n`)
  const publicLine = `ecdsa-sha2-nistp256 ${blob.toString('base64')} bench`
  return { publicPemFile, publicLine, file, list, user, forged }
}
