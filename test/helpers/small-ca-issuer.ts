/** What a small CA signs: a root, an intermediate, and real leaves for the requests that it is sent. */

import 'reflect-metadata'
import { randomBytes } from 'node:crypto'
import { Pkcs10CertificateRequest, SubjectAlternativeNameExtension } from '@peculiar/x509'
import { DIGITAL_SIGNATURE, extension, lifeFromToday, mint, mintFor, SERVER_AUTH } from './minted.ts'

/** RFC 7633: status_request (5) is a must. */
const MUST_STAPLE = extension('1.3.6.1.5.5.7.1.24', '3003020105')
const SAN = '2.5.29.17'

export interface LeafDemand {
  /** DER. */
  readonly csr: Buffer
  readonly notBefore: Date
  readonly notAfter: Date
  readonly isMustStaple?: boolean
  /** Instead of a random one; hexadecimal. */
  readonly serial?: string
}

export interface SmallIssuer {
  readonly rootPem: string
  readonly intermediatePem: string
  /** The leaf in PEM. */
  issue(demand: LeafDemand): Promise<string>
}

/** @throws Error when the request's signature is wrong */
export async function readRequest(csr: Buffer): Promise<{ readonly names: readonly string[] }> {
  const request = new Pkcs10CertificateRequest(csr)
  if (!(await request.verify())) throw new Error('the signature of the request is wrong')
  const names = request.getExtension(SAN)
  const list = names === null ? [] : new SubjectAlternativeNameExtension(names.rawData).names.items
  return { names: list.map(({ value }) => value.toLowerCase()) }
}

export async function createIssuer(): Promise<SmallIssuer> {
  const authority = { isAuthority: true, hasKeyIds: true, ...lifeFromToday(3_650) }
  const root = await mint({ ...authority, subject: 'CN=Small Root' })
  const issuer = await mint({ ...authority, subject: 'CN=Small Intermediate', issuer: root })
  const issue = async ({ csr, isMustStaple = false, ...rest }: LeafDemand) =>
    mintFor(new Pkcs10CertificateRequest(csr).publicKey.rawData, {
      ...{ issuer, subject: '', hasKeyIds: true, uses: [SERVER_AUTH], keyUsage: DIGITAL_SIGNATURE },
      ...(await readRequest(csr)),
      // A first byte above 0x7f, so that the DER has a leading zero (RFC 9773 section 4.1).
      serial: `8${randomBytes(8).toString('hex').slice(1)}`,
      extensions: isMustStaple ? [MUST_STAPLE] : [],
      ...rest,
    })
  return { rootPem: root.pem, intermediatePem: issuer.pem, issue }
}
