/** Only what is public passes. */

import t from 'tap'
import { checkVisibility } from '../../auth/visibility.ts'

t.test('lets public routes pass', async (t) => {
  t.doesNotThrow(() => checkVisibility({ visibility: 'public' }))
})

t.test('refuses everything else, known or not, and says how to open it', async (t) => {
  for (const visibility of ['private', '', 'Public', 'public ', undefined, null, true, ['public']]) {
    t.throws(() => checkVisibility({ visibility: visibility as string }), {
      code: 'auth_required',
      fault: { status: 401, source: 'client', next: /landfall port set/ },
    })
  }
})
