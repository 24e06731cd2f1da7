/** Loaded before a child process's own code: names below localhost are this machine, as they are for browsers (RFC 6761 section 6.3). */

import dns, { type LookupAddress, type LookupOptions } from 'node:dns'

type Done = (error: null, address: string | LookupAddress[], family?: number) => void

const { lookup } = dns

function lookUp(name: string, options: LookupOptions, done: Done): void {
  if (!name.endsWith('.localhost')) lookup(name, options, done as never)
  else if (options.all === true) done(null, [{ address: '127.0.0.1', family: 4 }])
  else done(null, '127.0.0.1', 4)
}

Object.assign(dns, { lookup: lookUp })
