/** The guests on the tap network, and what the nft table has to hold for them. */

import { keyOfVm } from '../vm-id.ts'
import type { Peer } from '../vmm.ts'
import type { GuestPlace } from './guest-network.ts'
import type { GuestElements } from './nft-rules.ts'

export interface Member {
  /** Of its device and its namespace. */
  readonly name: string
  /** `keyOfVm`. */
  readonly key: string
  readonly address: string
  readonly isOpen: boolean
  readonly peers: readonly Peer[]
  /** Elements of an earlier process's table, which count until the guest is attached anew. */
  readonly kept: readonly string[]
}

export function toMember(place: GuestPlace, at: Pick<Member, 'name' | 'key' | 'address'>): Member {
  const { name, address } = at
  return { name, address, key: keyOfVm(place), isOpen: place.egress === 'open', peers: place.peers, kept: [] }
}

/** A peer that is not on this host has no element. */
export function toElements(members: readonly Member[]): GuestElements {
  const sources = addressesByName(members)
  const peers = members.flatMap(({ address, peers, kept }) => [
    ...kept,
    ...peers.flatMap(({ vm, ports }) => {
      const source = sources.get(vm)
      return source === undefined ? [] : ports.map((port) => `${source} . ${address} . ${port}`)
    }),
  ])
  return {
    guests: new Set(members.map(({ name, address }) => `"${name}" . ${address}`)),
    open: new Set(members.flatMap(({ isOpen, address }) => (isOpen ? [address] : []))),
    peers: new Set(peers),
  }
}

/** While a VM goes and another of its name is there already, the name means the later one. */
function addressesByName(members: readonly Member[]): ReadonlyMap<string, string> {
  const byAge = members.toSorted((a, b) => (a.key < b.key ? -1 : 1))
  return new Map(byAge.map(({ key, address }) => [key.slice(0, key.lastIndexOf('-')), address]))
}
