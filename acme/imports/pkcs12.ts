/** Opens PKCS#12 files beside the event loop: keys are derived by thousands of hashes, as many as the file says. */

import { Worker } from 'node:worker_threads'
import { KeyedQueue } from '../../lib/keyed-queue.ts'
import type { Bags } from './pkcs12-bags.ts'
import type { Pkcs12Answer, Pkcs12Task } from './pkcs12-worker.ts'
import { refusal } from './refusal.ts'

const WORKER = new URL('./pkcs12-worker.ts', import.meta.url)
/** The dearest file that is taken takes 2 s on a core of its own. */
const LIMIT_MS = 10_000
const MEMORY_MB = 64
/** One at a time takes one core at most; whoever comes behind so many is sent away. */
const MAX_WAITING = 4

const queue = new KeyedQueue()
let waiting = 0

/** @throws AcmeError `certificate_invalid` */
export async function openPkcs12(file: Buffer, passphrase: string): Promise<Bags> {
  if (waiting >= MAX_WAITING)
    throw refusal('Too many PKCS#12 files are being opened; try again, or send PEM.')
  waiting += 1
  try {
    const answer = await queue.run(['pkcs12'], () => runWorker({ file, passphrase }))
    if ('refusal' in answer) throw refusal(`The PKCS#12 file cannot be used: ${answer.refusal}.`)
    return {
      certificates: answer.certificates.map((der) => Buffer.from(der)),
      keys: answer.keys.map((der) => Buffer.from(der)),
    }
  } finally {
    waiting -= 1
  }
}

async function runWorker(task: Pkcs12Task): Promise<Pkcs12Answer> {
  const worker = new Worker(WORKER, {
    workerData: task,
    // SAFETY: nothing of this process is handed on, neither its environment nor its command line.
    env: {},
    argv: [],
    execArgv: [],
    resourceLimits: { maxOldGenerationSizeMb: MEMORY_MB, maxYoungGenerationSizeMb: MEMORY_MB / 4 },
  })
  const { promise, resolve } = Promise.withResolvers<Pkcs12Answer>()
  const timer = setTimeout(() => resolve({ refusal: 'it takes too long to open' }), LIMIT_MS)
  worker.on('message', resolve)
  worker.on('error', () => resolve({ refusal: 'it takes too much memory to open, or is damaged' }))
  worker.on('exit', () => resolve({ refusal: 'it could not be read' }))
  try {
    return await promise
  } finally {
    clearTimeout(timer)
    await worker.terminate()
  }
}
