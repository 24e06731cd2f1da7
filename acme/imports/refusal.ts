/** How an upload is refused: one sentence that says what is wrong, with nothing in it that could forge a terminal's picture. */

import { toShown } from '../../lib/shown-text.ts'
import { MAX_DETAIL_CHARACTERS } from '../details.ts'
import { AcmeError } from '../errors.ts'

const MAX_SHOWN_CHARACTERS = 100

/** AcmeError `certificate_invalid`; `detail` must name no part of a key. */
export function refusal(detail: string, cause?: unknown): AcmeError {
  return new AcmeError('certificate_invalid', {
    detail: detail.slice(0, MAX_DETAIL_CHARACTERS),
    ...(cause !== undefined && { cause }),
  })
}

/** Text of a certificate for a detail: one line, cut where it is long. */
export function shown(text: string): string {
  return toShown(text.replaceAll('\n', ', '), MAX_SHOWN_CHARACTERS)
}
