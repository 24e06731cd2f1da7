/** Lets only some VMs start at once: a host that comes up with hundreds of them must not choke on it. */

import type { Vmm } from './vmm.ts'

/** Starts beyond `limit` wait in order; one that is aborted meanwhile gives up its place. */
export function limitStarts(vmm: Pick<Vmm, 'start'>, limit: number): Pick<Vmm, 'start'> {
  const places = new Places(limit)
  return {
    start: async (spec, signal) => {
      await places.take(signal)
      try {
        return await vmm.start(spec, signal)
      } finally {
        places.give()
      }
    },
  }
}

class Places {
  #free: number
  readonly #waiting = new Set<() => void>()

  constructor(limit: number) {
    this.#free = limit
  }

  /** @throws the signal's reason */
  async take(signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted()
    if (this.#free > 0) {
      this.#free -= 1
      return
    }
    await new Promise<void>((resolve, reject) => {
      const take = () => {
        signal?.removeEventListener('abort', leave)
        resolve()
      }
      const leave = () => {
        this.#waiting.delete(take)
        reject(signal?.reason)
      }
      signal?.addEventListener('abort', leave, { once: true })
      this.#waiting.add(take)
    })
  }

  give(): void {
    const [next] = this.#waiting
    if (next === undefined) {
      this.#free += 1
      return
    }
    this.#waiting.delete(next)
    next()
  }
}
