/** How many login mails an hour may be asked for, in the memory of this edge. */

import { toClient } from '../../../lib/client-address.ts'
import { RecentCounts } from './recent-counts.ts'

const PER_ADDRESS = 5
const PER_CLIENT = 20

export interface MailLimits {
  /** `client`: whoever asks has asked too often. `address`: too many went there, whoever asked. */
  findExceeded(mail: MailAsked): 'client' | 'address' | undefined
  add(mail: MailAsked): void
  /** It was not sent. */
  remove(mail: MailAsked): void
}

export interface MailAsked {
  readonly email: string
  readonly clientAddress: string
}

/** `now`: Unix milliseconds. */
export function createMailLimits(now: () => number): MailLimits {
  const addresses = new RecentCounts({ perHour: PER_ADDRESS, now })
  const clients = new RecentCounts({ perHour: PER_CLIENT, now })
  return {
    findExceeded: ({ email, clientAddress }) => {
      if (clients.isFull(toClient(clientAddress))) return 'client'
      return addresses.isFull(email) ? 'address' : undefined
    },
    add: ({ email, clientAddress }) => {
      addresses.add(email)
      clients.add(toClient(clientAddress))
    },
    remove: ({ email, clientAddress }) => {
      addresses.remove(email)
      clients.remove(toClient(clientAddress))
    },
  }
}
