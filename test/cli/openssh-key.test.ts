/** Private keys of OpenSSH: what ssh-keygen writes is read, and nothing that differs from it in any bit that counts. */

import { createPrivateKey, generateKeyPairSync } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { parseOpensshKey } from '../../cli/openssh-key.ts'
import { parsePublicBlob, toSshPublicKey } from '../../cli/ssh-public-key.ts'
import { WireError, WireReader, wireString, wireUint32 } from '../../cli/ssh-wire.ts'
import { folderFor } from '../helpers/folder.ts'
import { fingerprintOf, KINDS, missingKeygen, writeKey } from './ssh-keys.ts'

const skip = missingKeygen()

function armour(blob: Buffer): string {
  const lines = blob.toString('base64').match(/.{1,70}/g) ?? []
  return `-----BEGIN OPENSSH PRIVATE KEY-----\n${lines.join('\n')}\n-----END OPENSSH PRIVATE KEY-----\n`
}

function blobOf(text: string): Buffer {
  return Buffer.from(text.replaceAll(/-----[A-Z ]+-----|\n/g, ''), 'base64')
}

function refusalOf(text: string): string {
  try {
    parseOpensshKey(text)
    return 'none'
  } catch (error) {
    return error instanceof WireError ? error.message : `a bug: ${String(error)}`
  }
}

t.test('reads what ssh-keygen writes, whatever the comment', { skip }, (t) => {
  const folder = folderFor(t)
  for (const kind of KINDS) {
    // Comments of each length, so that each length of padding is met.
    for (let length = 0; length < 9; length += 1) {
      const file = join(folder, `${kind.type}-${kind.bits}-${length}`)
      writeKey(file, kind, { comment: 'c'.repeat(length) })
      const { publicKey, privateKey } = parseOpensshKey(readFileSync(file, 'utf8'))
      t.equal(publicKey.fingerprint, fingerprintOf(file))
      t.equal(privateKey && toSshPublicKey(privateKey).fingerprint, publicKey.fingerprint)
    }
    const file = writeKey(join(folder, `${kind.type}-${kind.bits}`), kind)
    const text = readFileSync(file, 'utf8')
    t.equal(refusalOf(text.replaceAll('\n', '\r\n')), 'none', 'ends of lines of another system')
    t.equal(refusalOf(armour(blobOf(text))), 'none')
  }
  t.end()
})

t.test('of one that is encrypted it reads the public half', { skip }, (t) => {
  const folder = folderFor(t)
  for (const kind of KINDS) {
    const file = writeKey(join(folder, `${kind.type}-${kind.bits}`), kind, { passphrase: 'a passphrase' })
    const { publicKey, privateKey } = parseOpensshKey(readFileSync(file, 'utf8'))
    t.equal(publicKey.fingerprint, fingerprintOf(file))
    t.equal(privateKey, undefined)
  }
  t.end()
})

t.test('refuses every cut and every changed bit that is not in the comment', { skip }, (t) => {
  const folder = folderFor(t)
  for (const kind of KINDS.slice(0, 2)) {
    const file = writeKey(join(folder, kind.type), kind, { comment: 'COMMENT' })
    const blob = blobOf(readFileSync(file, 'utf8'))
    const comment = blob.indexOf('COMMENT')
    for (let length = 0; length < blob.length; length += 1)
      t.notMatch(refusalOf(armour(blob.subarray(0, length))), /^none|bug/, `${length} bytes`)
    for (let at = 0; at < blob.length; at += 1) {
      if (at >= comment && at < comment + 7) continue
      const changed = Buffer.from(blob)
      changed[at] = (changed[at] ?? 0) ^ 1
      const refusal = refusalOf(armour(changed))
      t.notMatch(refusal, /bug/, `byte ${at}`)
      // A cipher that is not there, "oone", makes the secret half one that only an agent can read.
      if (refusal === 'none') t.ok(at >= 19 && at < 23, `byte ${at}`)
    }
    t.notMatch(refusalOf(armour(Buffer.concat([blob, Buffer.alloc(1)]))), /^none|bug/)
  }
  t.end()
})

t.test('refuses a key whose halves are of two keys', { skip }, (t) => {
  const folder = folderFor(t)
  for (const kind of KINDS) {
    const [one, other] = ['one', 'other'].map((name) => {
      const file = writeKey(join(folder, `${kind.type}-${kind.bits}-${name}`), kind)
      const reader = new WireReader(blobOf(readFileSync(file, 'utf8')))
      reader.readBytes(15)
      const head = [reader.readString(), reader.readString(), reader.readString()]
      reader.readUint32()
      return { head, publicBlob: reader.readString(), secret: reader.readString() }
    })
    if (one === undefined || other === undefined) throw new Error('no keys')
    const join2 = (publicBlob: Buffer, secret: Buffer, count = 1) =>
      armour(
        Buffer.concat([
          Buffer.from('openssh-key-v1\0'),
          ...one.head.map(wireString),
          wireUint32(count),
          wireString(publicBlob),
          wireString(secret),
        ]),
      )
    t.equal(refusalOf(join2(one.publicBlob, one.secret)), 'none')
    t.match(refusalOf(join2(other.publicBlob, one.secret)), /do not belong together/)
    t.match(refusalOf(join2(one.publicBlob, one.secret, 2)), /does not hold one key/)
  }
  t.end()
})

t.test('refuses what is no key of OpenSSH at all', (t) => {
  const texts = [
    '',
    '-----BEGIN OPENSSH PRIVATE KEY-----\n-----END OPENSSH PRIVATE KEY-----\n',
    armour(Buffer.from('openssh-key-v2\0')),
    armour(Buffer.from('x')),
    armour(Buffer.concat([Buffer.from('openssh-key-v1\0'), Buffer.alloc(4, 0xff)])),
    `${armour(Buffer.from('openssh-key-v1\0'))}more`,
  ]
  for (const text of texts) t.notMatch(refusalOf(text), /^none|bug/, text)
  t.end()
})

t.test('numbers have one spelling each', (t) => {
  const read = (...bytes: number[]) => new WireReader(wireString(Buffer.from(bytes))).readPositive(4)
  t.same(read(1), Buffer.from([0, 0, 0, 1]))
  t.same(read(0, 0x80), Buffer.from([0, 0, 0, 0x80]))
  t.same(read(0, 0xff, 2, 3, 4), Buffer.from([0xff, 2, 3, 4]))
  for (const bytes of [[], [0], [0x80], [0, 1], [0, 0, 0x80], [1, 2, 3, 4, 5], [0, 0x80, 1, 2, 3, 4]])
    t.throws(() => read(...bytes), WireError, bytes.join(' '))
  t.end()
})

t.test('other curves and other keys have no name in SSH that tokens know', (t) => {
  const pairs = [
    generateKeyPairSync('ec', { namedCurve: 'secp256k1' }),
    generateKeyPairSync('ec', { namedCurve: 'brainpoolP256r1' }),
    generateKeyPairSync('ed448'),
    generateKeyPairSync('x25519'),
    generateKeyPairSync('dsa', { modulusLength: 1_024, divisorLength: 160 }),
    generateKeyPairSync('rsa', { modulusLength: 2_048 }),
  ]
  for (const { privateKey } of pairs) t.throws(() => toSshPublicKey(privateKey), WireError)
  t.throws(() => parsePublicBlob(wireString('ssh-dss')), /of the type ssh-dss/)
  const { privateKey } = generateKeyPairSync('ed25519')
  const pem = createPrivateKey(privateKey.export({ format: 'pem', type: 'pkcs8' }))
  t.equal(toSshPublicKey(pem).type.name, 'ssh-ed25519')
  t.end()
})
