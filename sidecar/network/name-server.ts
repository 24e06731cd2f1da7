/** The name server that guests of this machine are led to. */

import { readFile } from 'node:fs/promises'
import { isIPv4 } from 'node:net'

/** systemd-resolved names its own loopback address in the second, and where it asks itself in the first. */
const FILES = ['/run/systemd/resolve/resolv.conf', '/etc/resolv.conf']
const LINE = /^nameserver\s+(\S+)/gm

/** This machine's own; undefined when it has none but IPv6 and loopback ones, which guests cannot be led to. */
export async function findNameServer(files: readonly string[] = FILES): Promise<string | undefined> {
  const texts = await Promise.all(files.map((file) => readFile(file, 'utf8').catch(() => '')))
  const named = texts.flatMap((text) => [...text.matchAll(LINE)].map(([, address = '']) => address))
  return named.find((address) => isIPv4(address) && !address.startsWith('127.'))
}
