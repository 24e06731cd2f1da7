/** Ports of this machine that QEMU's user-mode network leads to ports of its guest. */

import type { Address } from '../../routing/records/records.ts'
import type { Qmp } from '../qmp/qmp-client.ts'

const HOST = '127.0.0.1'
/** Protocol[State], descriptor, host address and port, guest address and port. */
const FORWARD = /TCP\[HOST_FORWARD\]\s+\d+\s+(\S+)\s+(\d+)\s+\S+\s+(\d+)/g

/** QEMU itself knows what it forwards: a sidecar that finds it running asks. */
export class HostForwards {
  readonly #qmp: Qmp
  #last: Promise<unknown> = Promise.resolve()

  constructor(qmp: Qmp) {
    this.#qmp = qmp
  }

  /** Calls are carried out one after the other. @throws SidecarError qmp_failed */
  async set(ports: readonly number[]): Promise<Readonly<Record<string, Address>>> {
    const turn = this.#last.then(() => this.#set(ports))
    this.#last = turn.catch(() => undefined)
    return turn
  }

  async #set(ports: readonly number[]): Promise<Readonly<Record<string, Address>>> {
    const known = await this.#list()
    const wanted = new Set(ports)
    const old = [...known].filter(([port]) => !wanted.has(port))
    const fresh = ports.filter((port) => !known.has(port))
    await Promise.all([
      ...old.map(([, hostPort]) => this.#tell(`hostfwd_remove net tcp:${HOST}:${hostPort}`)),
      // The kernel chooses a free port.
      ...fresh.map((port) => this.#tell(`hostfwd_add net tcp:${HOST}:0-:${port}`)),
    ])
    const forwards = old.length + fresh.length === 0 ? known : await this.#list()
    return Object.fromEntries(
      [...forwards]
        .filter(([port]) => wanted.has(port))
        .map(([port, hostPort]) => [port, { host: HOST, port: hostPort }]),
    )
  }

  async #list(): Promise<ReadonlyMap<number, number>> {
    const text = String(await this.#tell('info usernet'))
    const forwards = [...text.matchAll(FORWARD)]
    return new Map(forwards.map(([, , hostPort, port]) => [Number(port), Number(hostPort)]))
  }

  #tell(line: string): Promise<unknown> {
    return this.#qmp.execute('human-monitor-command', { 'command-line': line })
  }
}
