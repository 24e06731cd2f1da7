/** The key of the store's secrets: where it comes from, and what is refused. */

import { randomBytes } from 'node:crypto'
import { chmod, readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { createSealer } from '../../lib/seal.ts'
import { loadSecretKeys, openSecret } from '../../routing/secrets.ts'

const KEY = randomBytes(32).toString('base64')

async function fileFor(t: Test, text: string, mode = 0o600): Promise<string> {
  const file = join(t.testdir({ key: text }), 'key')
  await chmod(file, mode)
  return file
}

t.test('makes a key beside an embedded store, once, for its owner only', async (t) => {
  const folder = join(t.testdir(), 'data')
  const settings = { file: '', folder, isFleet: false }
  const [keys, ...others] = await Promise.all(Array.from({ length: 10 }, () => loadSecretKeys(settings)))
  t.equal(keys?.[0]?.length, 32)
  for (const other of others) t.strictSame(other, keys)
  t.strictSame(await loadSecretKeys(settings), keys)
  t.strictSame(await readdir(folder), ['secret.key'])
  t.equal((await stat(join(folder, 'secret.key'))).mode & 0o777, 0o600)
  const other = await loadSecretKeys({ ...settings, folder: join(t.testdir(), 'other') })
  t.not(other[0]?.toString('hex'), keys?.[0]?.toString('hex'))
})

t.test('reads the file that is given, and makes none in the folder', async (t) => {
  const file = await fileFor(t, `${KEY}\n`)
  const folder = join(file, '..')
  for (const isFleet of [true, false]) {
    t.strictSame(await loadSecretKeys({ file, folder, isFleet }), [Buffer.from(KEY, 'base64')])
  }
  t.strictSame(await readdir(folder), ['key'])
  const two = await fileFor(t, `${randomBytes(32).toString('base64')}\n${KEY}\n`, 0o400)
  const keys = await loadSecretKeys({ file: two, folder, isFleet: true })
  t.equal(keys.length, 2)
  t.equal(keys[1]?.toString('base64'), KEY)
})

t.test('wants the file to be given in a fleet', async (t) => {
  const folder = t.testdir({ 'secret.key': KEY })
  await t.rejects(loadSecretKeys({ file: '', folder, isFleet: true }), {
    code: 'secret_key_unusable',
    detail: /LANDFALL_SECRET_KEY_FILE/,
  })
})

t.test('refuses a file that others may read', async (t) => {
  for (const mode of [0o640, 0o604, 0o620, 0o601, 0o666]) {
    const file = await fileFor(t, KEY, mode)
    await t.rejects(loadSecretKeys({ file, folder: '', isFleet: true }), {
      code: 'secret_key_unusable',
      detail: /chmod 600/,
    })
  }
})

t.test('refuses what holds no key, and says the place but not the text', async (t) => {
  for (const text of ['', '\n', 'x', `${KEY}\nx`, randomBytes(31).toString('base64'), `${KEY} ${KEY}`]) {
    const file = await fileFor(t, text)
    await t.rejects(
      loadSecretKeys({ file, folder: '', isFleet: true }),
      { code: 'secret_key_unusable' },
      text,
    )
    await loadSecretKeys({ file, folder: '', isFleet: true }).catch((error: Error) => {
      t.ok(error.message.includes(file))
      t.notOk(error.message.includes(KEY))
    })
  }
  const folder = t.testdir({ 'secret.key': {} })
  await chmod(join(folder, 'secret.key'), 0o700)
  await t.rejects(loadSecretKeys({ file: '', folder, isFleet: false }), { code: 'secret_key_unusable' })
  await t.rejects(loadSecretKeys({ file: join(folder, 'none'), folder, isFleet: true }), {
    code: 'secret_key_unusable',
    detail: /ENOENT/,
  })
})

t.test('does not replace a key that is wrong', async (t) => {
  const folder = t.testdir({ 'secret.key': 'mistyped' })
  await chmod(join(folder, 'secret.key'), 0o600)
  await t.rejects(loadSecretKeys({ file: '', folder, isFleet: false }), { code: 'secret_key_unusable' })
  t.equal(await readFile(join(folder, 'secret.key'), 'utf8'), 'mistyped')
})

t.test('opens a secret where it belongs, and names the record when it cannot', (t) => {
  const sealer = createSealer(KEY)
  const sealed = sealer.seal('secret', 'idempotency/a')
  t.equal(openSecret(sealer, sealed, 'idempotency/a').toString(), 'secret')
  t.throws(() => openSecret(sealer, sealed, 'idempotency/b'), {
    code: 'secret_unreadable',
    detail: 'idempotency/b',
  })
  t.throws(() => openSecret(sealer, 'clear', 'idempotency/a'), { code: 'secret_unreadable' })
  t.end()
})
