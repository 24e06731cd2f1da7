/** Gives each handshake its certificate by server name, and its OCSP answer where there is one. */

import type { SecureContext, Server, TLSSocket } from 'node:tls'
import type { Certificates } from './certificates.ts'
import { addressOf } from './client-connection.ts'

type Done = (error: Error | null, context?: SecureContext) => void

/** An SNICallback; Node calls it as a method of the connection. A failure ends that handshake and nothing else. */
export function chooseCertificate(certificates: Pick<Certificates, 'contextFor'>) {
  return function (this: TLSSocket, serverName: string, done: Done): void {
    try {
      const client = { takesEcdsa: () => takesEcdsaOf(this) }
      const context = certificates.contextFor(serverName, addressOf(this), client)
      if (isPromise(context)) context.then((found) => done(null, found), done)
      else done(null, context)
    } catch (error) {
      done(toError(error))
    }
  }
}

function isPromise(context: SecureContext | Promise<SecureContext>): context is Promise<SecureContext> {
  return 'then' in context
}

function toError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error('no certificate', { cause: thrown })
}

/** OpenSSL's names, such as `ECDSA+SHA256`, of what both sides know. */
function takesEcdsaOf(socket: TLSSocket): boolean {
  return socket.getSharedSigalgs().some((name) => name.startsWith('ECDSA'))
}

type OcspDone = (error: Error | null, answer?: Buffer) => void
type StapleSource = Pick<Certificates, 'findStaple' | 'hasStaples'>

/**
 * Staples OCSP answers (RFC 6066 section 8). The result is to be called with every connection: a listener makes Node
 * copy certificate and issuer for each client that asks, so it waits for the first answer.
 */
export function createStapling(server: Server, certificates: StapleSource): () => void {
  let isOn = false
  return () => {
    if (isOn || !certificates.hasStaples()) return
    isOn = true
    server.on('OCSPRequest', (certificate: Buffer, _issuer: Buffer | null, done: OcspDone) =>
      done(null, findStaple(certificates, certificate)),
    )
  }
}

/** A handshake without a staple is better than none. */
function findStaple(certificates: StapleSource, certificate: Buffer): Buffer | undefined {
  try {
    return certificates.findStaple(certificate)
  } catch {
    return undefined
  }
}
