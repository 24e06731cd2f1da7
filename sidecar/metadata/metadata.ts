/** What the metadata service at 169.254.169.254 tells a guest: facts about itself, and of no other. */

import { keyOfVm } from '../vm-id.ts'
import type { VmSpec } from '../vmm.ts'
import type { SshIdentity } from './ssh-identity.ts'

export type GuestFacts = Pick<
  VmSpec,
  'name' | 'createdAt' | 'pool' | 'image' | 'hostname' | 'authorizedKeys'
> & { readonly identity: SshIdentity }

export interface MetadataRequest {
  readonly method: string
  /** As in the request line. */
  readonly target: string
  /** Lower-case names. */
  readonly headers: ReadonlyMap<string, string>
}

/** Who asks, as the network knows it: nothing that the guest says. */
export interface Asker {
  /** `keyOfVm`. */
  readonly key: string
  /** The guest's own address. */
  readonly address: string
}

export interface MetadataAnswer {
  readonly status: 200 | 403 | 404 | 405 | 503
  readonly type: 'text/plain' | 'application/json'
  readonly body: string
}

/** Never rejects. */
export interface Metadata {
  answer(request: MetadataRequest, asker: Asker): Promise<MetadataAnswer>
}

interface MetadataDeps {
  /** Undefined for a VM that this host does not have; `key` is its `keyOfVm`. */
  readonly find: (key: string) => Promise<GuestFacts | undefined>
}

/** Whoever can make a program send a header of his choice can do more than ask for metadata. */
const REQUIRED_HEADER = 'landfall-metadata'
/** A proxy in the guest that passes strangers' requests on says so in one of these. */
const FORWARDED = ['forwarded', 'x-forwarded-for', 'via']

const PAGES = {
  name: ({ name }) => name,
  hostname: hostnameOf,
  address: (_, { address }) => address,
  pool: ({ pool }) => pool,
  image: ({ image }) => image,
  'authorized-keys': ({ authorizedKeys = [] }) => authorizedKeys.join('\n'),
  'vm.json': (facts, asker) => JSON.stringify(toObject(facts, asker)),
  boot: formatBoot,
} as const satisfies Readonly<Record<string, (facts: GuestFacts, asker: Asker) => string>>

type PageName = keyof typeof PAGES

export function createMetadata({ find }: MetadataDeps): Metadata {
  return {
    answer: async (request, asker) => {
      const refusal = findRefusal(request)
      if (refusal) return refusal
      const page = findPage(request.target)
      if (page === 'list') return text(200, Object.keys(PAGES).join('\n'))
      if (page === undefined) return text(404, 'There is no such page; /v1/ lists those that there are.')
      const facts = await find(asker.key).catch(() => undefined)
      // The facts of another VM would be worse than none.
      if (!facts || keyOfVm(facts) !== asker.key) return text(503, 'Nothing is known of this VM yet.')
      const type = page === 'vm.json' ? 'application/json' : 'text/plain'
      return { ...text(200, PAGES[page](facts, asker)), type }
    },
  }
}

function findRefusal({ method, headers }: MetadataRequest): MetadataAnswer | undefined {
  if (method !== 'GET') return text(405, 'Only GET is answered.')
  if (headers.get(REQUIRED_HEADER) !== '1') return text(403, 'Send the header "Landfall-Metadata: 1".')
  if (FORWARDED.some((name) => headers.has(name))) return text(403, 'A forwarded request is not answered.')
  return undefined
}

function findPage(target: string): PageName | 'list' | undefined {
  if (target === '/v1/') return 'list'
  const name = target.startsWith('/v1/') ? target.slice('/v1/'.length) : ''
  return isPageName(name) ? name : undefined
}

function isPageName(name: string): name is PageName {
  return Object.hasOwn(PAGES, name)
}

function text(status: MetadataAnswer['status'], body: string): MetadataAnswer {
  return { status, type: 'text/plain', body: `${body}\n` }
}

function hostnameOf({ name, hostname = name }: GuestFacts): string {
  return hostname
}

function toObject(facts: GuestFacts, { address }: Asker): object {
  const { name, pool, image, createdAt, authorizedKeys = [] } = facts
  return { name, hostname: hostnameOf(facts), address, pool, image, createdAt, authorizedKeys }
}

/** All that the guest's init needs, in one request; it reads the lines with a shell. */
function formatBoot(facts: GuestFacts): string {
  const { identity, authorizedKeys = [] } = facts
  const values: readonly (readonly [string, string | Uint8Array])[] = [
    ['hostname', hostnameOf(facts)],
    ['authorized_keys', authorizedKeys.map((line) => `${line}\n`).join('')],
    ['ssh_host_ed25519_key', identity.openssh],
    ['ssh_host_dropbear_key', identity.dropbear],
  ]
  return values.map(([name, value]) => `${name} ${Buffer.from(value).toString('base64')}`).join('\n')
}
