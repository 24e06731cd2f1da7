/** Digests of secrets, and a comparison that takes equally long wherever two texts differ. */

import { hash, timingSafeEqual } from 'node:crypto'

/** SHA-256 in base64url without padding: 43 characters. */
export function digestOf(text: string): string {
  return hash('sha256', text, 'base64url')
}

/** In constant time for texts of one length. */
export function isSameSecret(one: string, other: string): boolean {
  const [left, right] = [Buffer.from(one), Buffer.from(other)]
  return left.length === right.length && timingSafeEqual(left, right)
}
