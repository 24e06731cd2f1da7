/** Ids of users: one form for each, and none that stands for something else. */

import t from 'tap'
import { toUserId } from '../../../routing/api/user-ids.ts'
import { RecordInvalid } from '../../../routing/errors.ts'

t.test('an address is kept in its canonical form, everything else as it is', (t) => {
  t.equal(toUserId('Zoe@Example.Test', '/user'), 'zoe@example.test')
  for (const user of ['idp|Ada/1', 'https://id.example.test/Ann', 'X']) t.equal(toUserId(user, '/user'), user)
  t.end()
})

t.test('refuses what stands for something else, and what no login says', (t) => {
  for (const user of ['token:x', 'link:x', 'api:x', 'sha256:x', 'a b', 'a\u0000', 'é', '']) {
    t.throws(() => toUserId(user, '/user'), RecordInvalid)
  }
  t.end()
})
