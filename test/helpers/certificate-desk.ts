/** A certificate desk for tests of the admin API: it keeps what is uploaded in memory, and writes down what it is asked. */

import type {
  CertificateCheck,
  CertificateDesk,
  CertificateUpload,
} from '../../routing/api/certificate-desk.ts'

export interface FakeDesk extends CertificateDesk {
  /** As `view www.example.org`. */
  readonly asked: string[]
  readonly uploads: Map<string, CertificateUpload>
}

const UPLOADED_AT = '2026-01-31T12:00:00.000Z'
const CERTIFICATE = {
  keyType: 'ec',
  source: 'upload',
  issuer: 'CN=Test',
  notBefore: UPLOADED_AT,
  notAfter: '2027-01-31T12:00:00.000Z',
  fingerprint: 'AA:BB',
}

/** Every name is known to it. */
export function createFakeDesk(): FakeDesk {
  const asked: string[] = []
  const uploads = new Map<string, CertificateUpload>()
  const tell = (hostname: string): CertificateCheck => {
    const isThere = uploads.has(hostname)
    return {
      hostname,
      state: isThere ? 'served' : 'none',
      steps: [{ step: 'certificate', state: isThere ? 'right' : 'waiting', detail: 'as the test says' }],
      certificates: isThere ? [{ ...CERTIFICATE, names: [hostname] }] : [],
    }
  }
  const ask = (what: string, hostname: string) => void asked.push(`${what} ${hostname}`)
  return {
    asked,
    uploads,
    view: async (hostname) => {
      ask('view', hostname)
      return tell(hostname)
    },
    check: async (hostname) => {
      ask('check', hostname)
      return tell(hostname)
    },
    upload: async (hostname, upload, { note }) => {
      ask('upload', hostname)
      const before = tell(hostname).certificates[0]
      const after = { ...CERTIFICATE, names: [hostname], uploads: asked.length }
      await note({ key: `certificate/${hostname}/ec`, ...(before && { before }), after })
      uploads.set(hostname, upload)
      return tell(hostname)
    },
    remove: async (hostname, note) => {
      ask('remove', hostname)
      const before = tell(hostname).certificates[0]
      if (before === undefined) return false
      await note({ key: `certificate/${hostname}/ec`, before })
      return uploads.delete(hostname)
    },
    renew: async (hostname, note) => {
      ask('renew', hostname)
      await note({ key: `order/${hostname}/ec`, after: { hostname, cause: 'operator' } })
      return tell(hostname)
    },
  }
}
