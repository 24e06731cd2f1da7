/** Values that browsers carry for us: sealed for one purpose and one time, as text for cookies, URLs and forms. */

import { SealError, type Sealer } from '../../lib/seal.ts'

export interface SealedTexts {
  /** base64url and a dot. */
  seal(value: unknown, purpose: string, lifeMs: number): string
  /** Undefined for what was altered, has expired, or was sealed for another purpose. */
  open(text: string | undefined, purpose: string): unknown
}

const TEXT = /^([A-Za-z0-9_-]{1,16})\.([A-Za-z0-9_-]+)$/

export function createSealedTexts(sealer: Sealer, now: () => number): SealedTexts {
  return {
    seal: (value, purpose, lifeMs) => {
      const plain = JSON.stringify({ until: now() + lifeMs, value })
      const { keyId, data } = sealer.seal(plain, boundTo(purpose))
      return `${keyId}.${data}`
    },
    open: (text, purpose) => {
      const [, keyId, data] = TEXT.exec(text ?? '') ?? []
      const plain = findPlain(() => sealer.open({ sealed: 'v1', keyId, data }, boundTo(purpose)))
      if (plain === undefined) return undefined
      const { until, value } = JSON.parse(plain.toString()) as { until: number; value: unknown }
      return until > now() ? value : undefined
    },
  }
}

function boundTo(purpose: string): string {
  return `login/${purpose}`
}

function findPlain(open: () => Buffer): Buffer | undefined {
  try {
    return open()
  } catch (error) {
    if (error instanceof SealError) return undefined
    throw error
  }
}
