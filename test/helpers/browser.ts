/** Debian's Chromium with a home of its own, in which the local CA is trusted as the README tells users to. */

import { execFileSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { type Browser, chromium } from 'playwright-core'
import type { Test } from 'tap'
import { folderFor } from './folder.ts'

/** What keeps a browser in a container quiet; QUIC would go round the TCP port. */
const ARGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

export async function browserFor(t: Test, { caFile }: { readonly caFile: string }): Promise<Browser> {
  const home = folderFor(t)
  trustCa(join(home, '.pki', 'nssdb'), caFile)
  const browser = await chromium.launch({
    executablePath: '/usr/bin/chromium',
    args: ARGS,
    headless: true,
    env: { ...process.env, HOME: home },
  })
  t.teardown(() => browser.close())
  return browser
}

/** Chromium reads the certificates that a user trusts from this folder. */
function trustCa(folder: string, caFile: string): void {
  mkdirSync(folder, { recursive: true })
  const database = ['-d', `sql:${folder}`]
  execFileSync('certutil', [...database, '-N', '--empty-password'])
  execFileSync('certutil', [...database, '-A', '-t', 'C,,', '-n', 'Landfall local CA', '-i', caFile])
}
