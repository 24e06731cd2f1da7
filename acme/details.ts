/** Details: what failures and checks say to whoever owns a name, no longer than the store takes. */

import { toShown } from '../lib/shown-text.ts'

export const MAX_DETAIL_CHARACTERS = 500

/** Strangers write what they like into DNS, certificates and answers. */
export function toDetail(text: string, maxCharacters = MAX_DETAIL_CHARACTERS): string {
  return toShown(text, maxCharacters)
}
