/** The file of external accounts: what is read of it, and what is said of a wrong line. */

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { loadExternalAccounts } from '../../../acme/ca/external-accounts.ts'

const KEY = 'zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W'

function fileFor(t: Test, text: string): string {
  const file = join(t.testdir(), 'eab')
  writeFileSync(file, text)
  return file
}

t.test('without a file there are none', async (t) => {
  t.equal((await loadExternalAccounts('')).size, 0)
})

t.test('each line is one account; comments and blank lines are left out', async (t) => {
  const text = `# ours\n\nhttps://ca.example.test/dir kid-1 ${KEY}\n  https://other.example.test/dir\tkid-2 a+b/${KEY}==\n`
  const accounts = await loadExternalAccounts(fileFor(t, text))
  t.same(
    [...accounts],
    [
      ['https://ca.example.test/dir', { kid: 'kid-1', hmacKey: KEY }],
      ['https://other.example.test/dir', { kid: 'kid-2', hmacKey: `a-b_${KEY}` }],
    ],
  )
})

t.test('a wrong line is named without the key', async (t) => {
  const lines = [
    `kid ${KEY}`,
    `https://ca.example.test/dir kid`,
    `https://ca.example.test/dir kid ${KEY} more`,
    `https://ca.example.test/dir kid ${KEY}!`,
  ]
  for (const line of lines) {
    const refused = await loadExternalAccounts(fileFor(t, `# ours\n${line}\n`)).catch(
      (error: unknown) => error,
    )
    t.match(refused, { code: 'certificate_setting', detail: /line 2/ }, line)
    t.notMatch(String(refused), KEY)
  }
})

t.test('a file that cannot be read is named', async (t) => {
  await t.rejects(loadExternalAccounts(join(t.testdir(), 'none')), {
    code: 'certificate_setting',
    detail: /none/,
  })
})
