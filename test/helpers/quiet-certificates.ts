/** Certificates of which nothing but contexts is to be had: a test adds what it is about. */

import type { Certificates } from '../../proxy/certificates.ts'

/** Nothing is lacking, pending, or to be stapled. */
export const QUIET_CERTIFICATES = {
  onPlatform: () => () => {},
  findLack: () => undefined,
  findHttpAnswer: () => undefined,
  findAlpnContext: () => undefined,
  hasAlpnContexts: () => false,
  findStaple: () => undefined,
  hasStaples: () => false,
} satisfies Partial<Certificates>
