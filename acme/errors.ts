/** Every way certificates can fail, as one table. */

import { type Fault, LandfallError, type LandfallErrorOptions } from '../lib/errors.ts'

export const FAULTS = {
  local_ca_broken: {
    status: 500,
    source: 'internal',
    retryable: false,
    title: 'The local certificate authority cannot be used',
    next: 'Remove ca.pem and ca.key from the folder named above and start again: a new authority is made, which browsers must be told to trust anew.',
  },
  local_ca_unwritable: {
    status: 500,
    source: 'internal',
    retryable: false,
    title: 'The local certificate authority cannot be read or written',
    next: 'Give this user read and write access to the folder named above, or set LANDFALL_DATA to another folder.',
  },
  certificate_failed: {
    status: 503,
    source: 'internal',
    retryable: true,
    title: 'No certificate could be made for the name',
    next: 'Try again; the log says why it failed.',
    proxyStatus: 'tls_certificate_error',
  },
  certificate_pending: {
    status: 503,
    source: 'internal',
    retryable: true,
    title: 'The certificate of this host name is being made',
    next: 'Wait a few seconds and load the page again.',
    proxyStatus: 'tls_certificate_error',
  },
  certificate_refused: {
    status: 503,
    source: 'upstream',
    retryable: true,
    title: 'No certificate could be made for this host name yet',
    next: 'The owner of the name runs "landfall domain check NAME", which says what is wrong and when it is tried again.',
    proxyStatus: 'tls_certificate_error',
  },
  certificate_busy: {
    status: 503,
    source: 'internal',
    retryable: true,
    title: 'Too many certificates are being asked for at once',
    next: 'Try again in some minutes.',
    proxyStatus: 'tls_certificate_error',
  },
  certificate_invalid: {
    status: 400,
    source: 'client',
    retryable: false,
    title: 'The certificate cannot be used',
    next: 'Send the chain in PEM with the leaf first, and the key that belongs to it, or both as PKCS#12.',
  },
  certificate_unknown: {
    status: 404,
    source: 'client',
    retryable: false,
    title: 'There is no certificate for this host name',
    next: 'Ask for the domain first: landfall domain add NAME VM.',
  },
  certificate_unmanaged: {
    status: 409,
    source: 'client',
    retryable: false,
    title: 'Certificates are not ordered here',
    next: 'Set LANDFALL_ACME_CAS to the directory of a certificate authority, or upload a certificate.',
  },
  certificate_dns: {
    status: 409,
    source: 'client',
    retryable: true,
    title: 'DNS does not lead here',
    next: 'Set the DNS records that "landfall domain check NAME" shows.',
  },
  certificate_caa: {
    status: 409,
    source: 'client',
    retryable: true,
    title: 'A CAA record forbids the certificate',
    next: 'Add a CAA record that allows the certificate authority, or remove those that forbid it (RFC 8659).',
  },
  certificate_budget: {
    status: 429,
    source: 'client',
    retryable: true,
    title: 'The budget for certificates is used up',
    next: 'Wait until the moment that is named; it is kept below what the certificate authority allows.',
  },
  certificate_unconfirmed: {
    status: 503,
    source: 'internal',
    retryable: true,
    title: 'Not every edge answers the challenge yet',
    next: 'It is tried again; the log names the edges that lack it.',
  },
  ca_unreachable: {
    status: 503,
    source: 'upstream',
    retryable: true,
    title: 'The certificate authority cannot be reached',
    next: 'It is tried again, with the next authority if there is one.',
  },
  ca_limited: {
    status: 503,
    source: 'upstream',
    retryable: true,
    title: 'The certificate authority wants to be asked later',
    next: 'It is tried again at the moment that it named.',
  },
  ca_refused: {
    status: 502,
    source: 'upstream',
    retryable: true,
    title: 'The certificate authority refused',
    next: 'The detail is in its own words; it is tried again later.',
  },
  ca_unauthorized: {
    status: 409,
    source: 'client',
    retryable: true,
    title: 'The certificate authority could not prove the name',
    next: 'Run "landfall domain check NAME": the name has to lead here from everywhere.',
  },
  ca_account: {
    status: 500,
    source: 'internal',
    retryable: false,
    title: 'The certificate authority does not take the account',
    next: 'Check LANDFALL_ACME_EAB_FILE, LANDFALL_ACME_CONTACT and the terms of service.',
  },
  ca_nonsense: {
    status: 502,
    source: 'upstream',
    retryable: true,
    title: 'The certificate authority answered with nonsense',
    next: 'Check that LANDFALL_ACME_CAS names ACME directories; the log has the answer.',
  },
  certificate_dns_update: {
    status: 503,
    source: 'internal',
    retryable: true,
    title: 'The DNS server did not take the update',
    next: 'Check LANDFALL_DNS_UPDATE_SERVER, its zone and its key file.',
  },
  certificate_setting: {
    status: 500,
    source: 'internal',
    retryable: false,
    title: 'A setting for certificates cannot be used',
    next: 'Mend the file or the address that is named, and start again.',
  },
} as const satisfies Record<string, Fault>

export type AcmeErrorCode = keyof typeof FAULTS

/** A certificate's failure; `code` is a key of `FAULTS`. */
export class AcmeError extends LandfallError {
  declare readonly code: AcmeErrorCode

  constructor(code: AcmeErrorCode, options: LandfallErrorOptions = {}) {
    super(code, FAULTS[code], options)
  }
}
