/** The admin token: made once, private, kept, and compared whole. */

import { chmod, readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { createTokenCheck, loadBootstrapToken } from '../../../routing/api/bootstrap-token.ts'

t.test('makes a token once, for its owner only, and keeps it', async (t) => {
  const folder = join(t.testdir(), 'data')
  const token = await loadBootstrapToken(folder)
  t.match(token, /^[A-Za-z0-9_-]{43}$/)
  t.equal(await loadBootstrapToken(folder), token)
  t.strictSame(await readdir(folder), ['admin.token'], 'no draft stays behind')
  t.equal(await readFile(join(folder, 'admin.token'), 'utf8'), `${token}\n`)
  t.equal((await stat(join(folder, 'admin.token'))).mode & 0o777, 0o600)
  t.equal((await stat(folder)).mode & 0o777, 0o700)
})

t.test('makes another token in another folder', async (t) => {
  const folder = t.testdir({ a: {}, b: {} })
  t.not(await loadBootstrapToken(join(folder, 'a')), await loadBootstrapToken(join(folder, 'b')))
})

t.test('gives all that start at once the same token', async (t) => {
  const folder = t.testdir()
  const tokens = await Promise.all(Array.from({ length: 20 }, () => loadBootstrapToken(folder)))
  t.equal(new Set(tokens).size, 1)
  t.strictSame(await readdir(folder), ['admin.token'])
})

t.test("takes an operator's own token, and refuses what is too short or odd", async (t) => {
  const own = 'A-token_of-the-operator-0123456789'
  t.equal(await loadBootstrapToken(t.testdir({ 'admin.token': `  ${own}\n` })), own)
  for (const text of ['', '\n', 'short', 'x'.repeat(31), `${own} ${own}`, `${own}é`]) {
    await t.rejects(
      loadBootstrapToken(t.testdir({ 'admin.token': text })),
      { code: 'api_token_unusable' },
      text,
    )
  }
})

t.test('does not replace a token that it may not read', async (t) => {
  const folder = t.testdir({ 'admin.token': 'x'.repeat(43) })
  await chmod(join(folder, 'admin.token'), 0o000)
  if (process.getuid?.() === 0) t.equal(await loadBootstrapToken(folder), 'x'.repeat(43))
  else await t.rejects(loadBootstrapToken(folder), { code: 'EACCES' })
})

t.test('accepts the token and nothing else', async (t) => {
  const isToken = createTokenCheck('secret')
  t.equal(isToken('secret'), true)
  for (const text of ['', 'secre', 'secrets', 'Secret', 'secret ']) t.equal(isToken(text), false, text)
})
