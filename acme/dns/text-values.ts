/** Asks single name servers for TXT values, and finds the servers of a zone. */

import { Resolver } from 'node:dns/promises'
import { type Endpoint, toServerText } from '../../lib/address-text.ts'
import { codeOf } from '../../lib/node-error.ts'
import { withinTime } from '../../lib/within-time.ts'

/** Node's `dns.promises.Resolver` fits. */
export interface NameResolver {
  resolveNs(name: string): Promise<readonly string[]>
  resolve4(name: string): Promise<readonly string[]>
  resolve6(name: string): Promise<readonly string[]>
}

interface Limits {
  readonly timeoutMs: number
  readonly signal: AbortSignal
}

/** More servers of one zone are not asked. */
const MAX_SERVERS = 16
const ABSENT: readonly unknown[] = ['ENODATA', 'ENOTFOUND']

/** Undefined when the server does not answer, or not with knowledge. @throws the signal's reason when it aborts */
export async function findValues(
  name: string,
  { server, timeoutMs, signal }: Limits & { readonly server: Endpoint },
): Promise<readonly string[] | undefined> {
  const resolver = new Resolver({ timeout: timeoutMs, tries: 1, maxTimeout: timeoutMs })
  resolver.setServers([toServerText(server)])
  try {
    const texts = await withinTime(resolver.resolveTxt(name), { timeoutMs, signal })
    return texts.map((parts) => parts.join(''))
  } catch (error) {
    signal.throwIfAborted()
    return ABSENT.includes(codeOf(error)) ? [] : undefined
  } finally {
    resolver.cancel()
  }
}

/** Empty without a resolver, and when they cannot be found. @throws the signal's reason when it aborts */
export async function findZoneServers(
  where: { readonly resolver: NameResolver | undefined; readonly zone: string; readonly port: number },
  limits: Limits,
): Promise<readonly Endpoint[]> {
  const { resolver, zone, port } = where
  if (resolver === undefined) return []
  const find = async (query: Promise<readonly string[]>) => {
    try {
      return await withinTime(query, limits)
    } catch {
      limits.signal.throwIfAborted()
      return []
    }
  }
  const names = await find(resolver.resolveNs(zone))
  const queries = names
    .slice(0, MAX_SERVERS)
    .flatMap((name) => [resolver.resolve4(name), resolver.resolve6(name)])
  const addresses = (await Promise.all(queries.map(find))).flat()
  return [...new Set(addresses)].slice(0, MAX_SERVERS).map((host) => ({ host, port }))
}
