/** Private files: made once and whole, readable by their owner alone. */

import { chmod, readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { createPrivateFile } from '../../lib/private-file.ts'

t.test('makes the file and its folder, for their owner only', async (t) => {
  const folder = join(t.testdir(), 'data')
  await createPrivateFile(join(folder, 'secret'), 'text\n')
  t.equal(await readFile(join(folder, 'secret'), 'utf8'), 'text\n')
  t.equal((await stat(join(folder, 'secret'))).mode & 0o777, 0o600)
  t.equal((await stat(folder)).mode & 0o777, 0o700)
  t.strictSame(await readdir(folder), ['secret'], 'no draft stays behind')
})

t.test('leaves what is there as it is', async (t) => {
  const folder = t.testdir({ secret: 'first' })
  await createPrivateFile(join(folder, 'secret'), 'second')
  t.equal(await readFile(join(folder, 'secret'), 'utf8'), 'first')
  t.strictSame(await readdir(folder), ['secret'])
})

t.test('lets one of many win, and shows nobody half a file', async (t) => {
  const path = join(t.testdir(), 'secret')
  const texts = Array.from({ length: 20 }, (_, index) => `${index}`.repeat(10_000))
  const seen = await Promise.all(
    texts.map(async (text) => {
      await createPrivateFile(path, text)
      return readFile(path, 'utf8')
    }),
  )
  t.equal(new Set(seen).size, 1)
  t.ok(texts.includes(seen[0] ?? ''))
})

t.test('throws what the system says', async (t) => {
  const folder = t.testdir({ file: '' })
  await t.rejects(createPrivateFile(join(folder, 'file', 'secret'), ''), { code: /^(ENOTDIR|EEXIST)$/ })
  if (process.getuid?.() === 0) return
  await chmod(folder, 0o500)
  await t.rejects(createPrivateFile(join(folder, 'secret'), ''), { code: 'EACCES' })
})
