/** The worker that opens one PKCS#12 file: its thread may take long and its memory is small, whatever the file holds. */

import { parentPort, workerData } from 'node:worker_threads'
import { Pkcs12Refusal, readBags } from './pkcs12-bags.ts'

/** What `pkcs12.ts` gives. */
export interface Pkcs12Task {
  readonly file: Uint8Array
  readonly passphrase: string
}

/** What it is told. */
export type Pkcs12Answer =
  | { readonly certificates: readonly Uint8Array[]; readonly keys: readonly Uint8Array[] }
  | { readonly refusal: string }

parentPort?.postMessage(answer(workerData as Pkcs12Task))

function answer({ file, passphrase }: Pkcs12Task): Pkcs12Answer {
  try {
    return readBags(Buffer.from(file), passphrase)
  } catch (error) {
    if (error instanceof Pkcs12Refusal) return { refusal: error.message }
    return { refusal: 'it is no PKCS#12 file, or damaged' }
  }
}
