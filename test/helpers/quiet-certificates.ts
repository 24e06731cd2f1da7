/** Certificates of which nothing but contexts is to be had: a test adds what it is about. */

import type { CertificateReport, Certificates } from '../../proxy/certificates.ts'

/** As of an edge that has just begun. */
export const EMPTY_REPORT: CertificateReport = {
  notAfter: { platform: undefined, custom: undefined },
  known: 0,
  ageSeconds: 0,
  contexts: 0,
  orders: new Map(),
  open: 0,
  failed: 0,
  budget: new Map(),
  ariWindowStart: undefined,
  dns: new Map(),
}

/** Nothing is lacking, pending, or to be stapled. */
export const QUIET_CERTIFICATES = {
  onPlatform: () => () => {},
  findLack: () => undefined,
  findHttpAnswer: () => undefined,
  findAlpnContext: () => undefined,
  hasAlpnContexts: () => false,
  findStaple: () => undefined,
  hasStaples: () => false,
  tickets: { sealing: undefined, find: () => undefined },
  report: () => EMPTY_REPORT,
} satisfies Partial<Certificates>
