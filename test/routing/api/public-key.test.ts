/** Public keys as ssh-keygen writes them, and what only looks like one. */

import { generateKeyPairSync } from 'node:crypto'
import t from 'tap'
import { parsePublicKey } from '../../../routing/api/public-key.ts'
import { RecordInvalid } from '../../../routing/errors.ts'

/** Made with ssh-keygen; the fingerprints are what `ssh-keygen -l` printed of them. */
const KEYS = [
  [
    'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINMuCGBF3fEVbaf8PetAR1Ny8GTdY6RplrNJOjGx/i9U ada@laptop',
    'BFTh1VXbEeAeevwNbCRTrcwDotlMRLYqSz7XIMW79js',
  ],
  [
    'ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBIpPaPbhPqs52Wh1V+/r2oJ7xlUoaSOKLMK1PGbSiyXlwLZgZSJmkmj2tC9POuavtZAmRAulL5jx6lq9GC+npCc= e256',
    'xcKjo0GNT7XYNd3+o9WY6K75HLEKeO5WZKZWOmhQaak',
  ],
  [
    'ecdsa-sha2-nistp384 AAAAE2VjZHNhLXNoYTItbmlzdHAzODQAAAAIbmlzdHAzODQAAABhBCPhDJP4BdiRdnvxYaGlKcjHgdwL37AFVPbnqAItm68KiZwojuc1+ABAcQjP/f9TzzIfutcoIk4L714U23faET9hsnAGVY/zTbgdmcY5E46gN1oNTsEswk/veswKj4u7DQ== e384',
    '3f8QSoisosW7Ud+a8gvlpwhP0SBzlw9efc5N/6GVAwM',
  ],
  [
    'ecdsa-sha2-nistp521 AAAAE2VjZHNhLXNoYTItbmlzdHA1MjEAAAAIbmlzdHA1MjEAAACFBAH/8EYdEtr2W6RFXRfHFxg+QPAY15eoSR3ROSQ4YSAdYKYVkNNkl+RdMUB0826GF0UYK/aKYvbuILfg+yWCJ0H4vgD6KcWZuKHw57nEiFhWqqgvdj6WOrfxWLo6iGuUp+jPrKIyAF05VUK0GqbZ7tFls/9SnRuLEFZtm3oFAPwGVeipTg== e521',
    'G4mrziACFPxBR/W2tE9yycJ1iCDulUJjiDM8auE6jds',
  ],
] as const
const ED = Buffer.from(KEYS[0][0].split(' ')[1] ?? '', 'base64')
const P256 = Buffer.from(KEYS[1][0].split(' ')[1] ?? '', 'base64')

function part(bytes: Buffer | string): Buffer {
  const length = Buffer.alloc(4)
  length.writeUInt32BE(Buffer.byteLength(bytes))
  return Buffer.concat([length, Buffer.from(bytes)])
}

const lineOf = (type: string, ...parts: Buffer[]) => `${type} ${Buffer.concat(parts).toString('base64')}`

t.test('reads every type that is taken, with the fingerprint that ssh-keygen prints', (t) => {
  for (const [line, fingerprint] of KEYS) {
    const [type, publicKey, comment] = line.split(' ')
    const id = fingerprint.replaceAll('+', '-').replaceAll('/', '_')
    t.strictSame(parsePublicKey(line), { id, type, publicKey, comment })
    t.equal(parsePublicKey(`  ${type}  ${publicKey}\n`).comment, '')
    t.equal(parsePublicKey(`${type} ${publicKey} my own läptop `).comment, 'my own läptop')
  }
  t.end()
})

t.test('refuses what is no public key, or none that is taken', (t) => {
  const [line] = KEYS[0]
  const [, blob = ''] = line.split(' ')
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2_048 }).publicKey.export({ format: 'jwk' })
  const point = P256.subarray(-65)
  const offCurve = Buffer.from(point)
  offCurve.writeUInt8((offCurve[64] ?? 0) ^ 1, 64)
  const wrong = {
    nothing: '',
    'a type alone': 'ssh-ed25519',
    'a private key': '-----BEGIN OPENSSH PRIVATE KEY-----',
    'options before the key': `command="x" ${line}`,
    'two lines': `${line}\n${line}`,
    'a control character': `${line}\u0007`,
    'another type outside': line.replace('ssh-ed25519', 'ecdsa-sha2-nistp256'),
    'a type nobody knows': lineOf('ssh-magic', part('ssh-magic'), part(Buffer.alloc(32))),
    RSA: lineOf(
      'ssh-rsa',
      part('ssh-rsa'),
      part(Buffer.from([1, 0, 1])),
      part(Buffer.from(rsa.n ?? '', 'base64url')),
    ),
    'a type from the prototype': lineOf('constructor', part('constructor'), part(Buffer.alloc(32))),
    'a key cut short': lineOf('ssh-ed25519', ED.subarray(0, -1)),
    'bytes behind the key': lineOf('ssh-ed25519', ED, Buffer.from([0])),
    'a part behind the key': lineOf('ssh-ed25519', ED, part('x')),
    'a short point': lineOf('ssh-ed25519', part('ssh-ed25519'), part(Buffer.alloc(31, 1))),
    'a length beyond the end': lineOf(
      'ssh-ed25519',
      part('ssh-ed25519'),
      Buffer.from([255, 255, 255, 255, 1, 2]),
    ),
    'another spelling of the base64': `ssh-ed25519 ${blob.slice(0, -1)}${blob.endsWith('U') ? 'V' : 'U'}=`,
    'URL base64': line.replaceAll('/', '_'),
    'a point off its curve': lineOf(
      'ecdsa-sha2-nistp256',
      part('ecdsa-sha2-nistp256'),
      part('nistp256'),
      part(offCurve),
    ),
    'a compressed point': lineOf(
      'ecdsa-sha2-nistp256',
      part('ecdsa-sha2-nistp256'),
      part('nistp256'),
      part(Buffer.concat([Buffer.from([2]), point.subarray(1, 33)])),
    ),
    'another curve inside': lineOf(
      'ecdsa-sha2-nistp256',
      part('ecdsa-sha2-nistp256'),
      part('nistp384'),
      part(point),
    ),
    'the point at infinity': lineOf(
      'ecdsa-sha2-nistp256',
      part('ecdsa-sha2-nistp256'),
      part('nistp256'),
      part(Buffer.from([0])),
    ),
  }
  for (const [name, text] of Object.entries(wrong)) {
    t.throws(() => parsePublicKey(text), RecordInvalid, name)
    try {
      parsePublicKey(text)
    } catch (error) {
      t.match(error, { field: '/publicKey' }, name)
    }
  }
  t.end()
})

t.test('takes every point of a curve', (t) => {
  for (const [crv, type, name] of [
    ['P-256', 'ecdsa-sha2-nistp256', 'nistp256'],
    ['P-384', 'ecdsa-sha2-nistp384', 'nistp384'],
    ['P-521', 'ecdsa-sha2-nistp521', 'nistp521'],
  ] as const) {
    for (let n = 0; n < 20; n += 1) {
      const pair = generateKeyPairSync('ec', { namedCurve: crv })
      const { x = '', y = '' } = pair.publicKey.export({ format: 'jwk' })
      const point = Buffer.concat([
        Buffer.from([4]),
        Buffer.from(x, 'base64url'),
        Buffer.from(y, 'base64url'),
      ])
      t.equal(parsePublicKey(lineOf(type, part(type), part(name), part(point))).type, type)
    }
  }
  t.end()
})
