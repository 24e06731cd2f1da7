/** Certificates as their owners have them: made by the real openssl, as PEM and as PKCS#12 files. */

import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import { folderFor } from './folder.ts'

export interface OpensslCa {
  readonly rootPem: string
  /** Leaf and intermediate. */
  readonly issue: (names: readonly string[], options?: OpensslLeafOptions) => OpensslLeaf
}

export interface OpensslLeafOptions {
  /** 1 day by default. */
  readonly days?: number
  /** `ec` by default. */
  readonly keyType?: 'ec' | 'rsa'
}

/** Paths of files. */
export interface OpensslLeaf {
  readonly chainFile: string
  /** The leaf without its intermediate. */
  readonly leafFile: string
  readonly keyFile: string
  readonly keyPem: string
  readonly toPkcs12: (passphrase: string) => string
}

const CA = ['-addext', 'basicConstraints=critical,CA:TRUE', '-addext', 'keyUsage=critical,keyCertSign']

export function opensslCaFor(t: Test): OpensslCa {
  const folder = folderFor(t)
  const at = (name: string) => join(folder, name)
  const run = (...line: string[]) => execFileSync('openssl', line, { cwd: folder, stdio: 'pipe' })
  const newKey = (keyType: 'ec' | 'rsa') =>
    keyType === 'ec' ? ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256'] : ['-newkey', 'rsa:2048']
  const make = (name: string, line: readonly string[]) =>
    run('req', '-x509', '-nodes', '-keyout', `${name}.key`, '-out', `${name}.pem`, ...line)
  const by = (issuer: string) => ['-CA', `${issuer}.pem`, '-CAkey', `${issuer}.key`]
  make('root', [...newKey('ec'), '-days', '30', '-subj', '/CN=Owner root', ...CA])
  make('middle', [...newKey('ec'), '-days', '20', '-subj', '/CN=Owner middle', ...CA, ...by('root')])
  let count = 0
  return {
    rootPem: readFileSync(at('root.pem'), 'utf8'),
    issue: (names, { days = 1, keyType = 'ec' } = {}) => {
      count += 1
      const leaf = `leaf-${count}`
      const list = names.map((name) => `DNS:${name}`).join(',')
      const extensions = ['-addext', `subjectAltName=${list}`, '-addext', 'basicConstraints=CA:FALSE']
      const subject = ['-days', String(days), '-subj', '/CN=shop', ...extensions]
      make(leaf, [...newKey(keyType), ...subject, ...by('middle')])
      const chain = readFileSync(at(`${leaf}.pem`), 'utf8') + readFileSync(at('middle.pem'), 'utf8')
      return toLeaf({ at, run, leaf, chain })
    },
  }
}

interface Made {
  readonly at: (name: string) => string
  readonly run: (...line: string[]) => Buffer
  readonly leaf: string
  readonly chain: string
}

function toLeaf({ at, run, leaf, chain }: Made): OpensslLeaf {
  const chainFile = at(`${leaf}-chain.pem`)
  writeFileSync(chainFile, chain)
  return {
    ...{ chainFile, leafFile: at(`${leaf}.pem`), keyFile: at(`${leaf}.key`) },
    keyPem: readFileSync(at(`${leaf}.key`), 'utf8'),
    toPkcs12: (passphrase) => {
      const sources = ['-in', chainFile, '-inkey', at(`${leaf}.key`)]
      run('pkcs12', '-export', ...sources, '-out', `${leaf}.p12`, '-passout', `pass:${passphrase}`)
      return at(`${leaf}.p12`)
    },
  }
}
