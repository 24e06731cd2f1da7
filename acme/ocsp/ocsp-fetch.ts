/** Asks an OCSP responder over HTTP (RFC 6960 appendix A): no redirects, port 80 of public addresses alone, bounded in time and size. */

import type { LookupAddress, LookupOptions } from 'node:dns'
import { request } from 'node:http'
import { isIP, type LookupFunction } from 'node:net'
import { OcspError } from './ocsp-message.ts'
import { isPublicAddress } from './public-address.ts'

/**
 * Node's `dns.promises.Resolver` fits, with time limits of its own. `dns.lookup` would not do: strangers choose the names,
 * and each that nobody answers for keeps one of few threads, on which all other look-ups of the process wait.
 */
export interface AddressResolver {
  resolve4(name: string): Promise<readonly string[]>
  resolve6(name: string): Promise<readonly string[]>
}

export type IsAllowed = (address: string, port: number) => boolean

export interface OcspFetchSettings {
  readonly resolver: AddressResolver
  /** In all. */
  readonly timeoutMs: number
  /** Whether an address may be asked at a port; only tests have their responder on this machine. */
  readonly isAllowed?: IsAllowed
}

/** One with its signer's certificate has about 2 KiB. */
const MAX_BYTES = 64 * 1024
/** No public authority has another; firewalls often open others to edges alone. */
const PORT = 80
const NOT_PUBLIC = 'the responder is not at port 80 of a public address'

/** Rejects with OcspError, or at once when `signal` aborts. */
export async function fetchOcsp(
  demand: { readonly url: string; readonly body: Buffer; readonly signal: AbortSignal },
  { resolver, timeoutMs, isAllowed = isPublicResponder }: OcspFetchSettings,
): Promise<Buffer> {
  const url = new URL(demand.url)
  if (url.protocol !== 'http:') throw new OcspError('the responder is not asked over http')
  // Node would make a field of them.
  if (url.username !== '' || url.password !== '') throw new OcspError('the responder wants a password')
  const port = Number(url.port || PORT)
  // A URL with an address in it is never looked up.
  const host = url.hostname.replace(/^\[|\]$/g, '')
  if (isIP(host) !== 0 && !isAllowed(host, port)) throw new OcspError(NOT_PUBLIC)
  const signal = AbortSignal.any([demand.signal, AbortSignal.timeout(timeoutMs)])
  const lookup = createLookup(resolver, (address) => isAllowed(address, port))
  try {
    return await post(url, { body: demand.body, signal, lookup })
  } catch (cause) {
    if (cause instanceof OcspError) throw cause
    throw new OcspError('the responder cannot be asked', { cause })
  }
}

function isPublicResponder(address: string, port: number): boolean {
  return port === PORT && isPublicAddress(address)
}

interface Post {
  readonly body: Buffer
  readonly signal: AbortSignal
  readonly lookup: LookupFunction
}

function post(url: URL, { body, signal, lookup }: Post): Promise<Buffer> {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>()
  const headers = { 'content-type': 'application/ocsp-request', 'content-length': body.length }
  const asked = request(url, { method: 'POST', agent: false, headers, signal, lookup }, (response) => {
    if (response.statusCode !== 200) {
      asked.destroy(new OcspError(`the responder gives HTTP status ${response.statusCode}`))
      return
    }
    const chunks: Buffer[] = []
    let bytes = 0
    response.on('data', (chunk: Buffer) => {
      chunks.push(chunk)
      bytes += chunk.length
      if (bytes > MAX_BYTES) asked.destroy(new OcspError('the answer is too large'))
    })
    response.on('end', () => resolve(Buffer.concat(chunks)))
    response.on('error', reject)
  })
  asked.on('error', reject)
  asked.end(body)
  return promise
}

/** What is checked is what is connected to: a second look-up could answer otherwise. */
function createLookup(resolver: AddressResolver, isAllowed: (address: string) => boolean): LookupFunction {
  return (hostname: string, options: LookupOptions, done) => {
    void listAddresses(hostname, resolver).then((found) => {
      const addresses = found.filter(({ address }) => isAllowed(address))
      const [first] = addresses
      const why = found.length === 0 ? 'the responder has no address' : NOT_PUBLIC
      if (first === undefined) done(new OcspError(why), '', 0)
      else if (options.all === true) done(null, addresses)
      else done(null, first.address, first.family)
    })
  }
}

/** Never rejects. */
async function listAddresses(hostname: string, resolver: AddressResolver): Promise<LookupAddress[]> {
  const find = async (family: 4 | 6) => {
    try {
      const found = await (family === 4 ? resolver.resolve4(hostname) : resolver.resolve6(hostname))
      return found.map((address) => ({ address, family }))
    } catch {
      return []
    }
  }
  return (await Promise.all([find(4), find(6)])).flat()
}
