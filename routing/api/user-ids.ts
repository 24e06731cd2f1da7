/** Ids of users as bodies name them: in the one form that logins give them, and never what stands for something else. */

import { RecordInvalid } from '../errors.ts'
import { toUser } from './grant-bodies.ts'

/** @throws RecordInvalid with the field */
export function toUserId(value: string, field: string): string {
  const user = toUser(value)
  if (user !== undefined) return user
  const detail =
    'It must be visible ASCII without spaces, and not begin with "token:", "link:", "api:" or "sha256:".'
  throw new RecordInvalid(field, detail)
}
