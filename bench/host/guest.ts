/** A guest on the machine that Landfall's driver describes, with two more disks: the same one, near and far. */

import { once } from 'node:events'
import { mkdir } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join, relative } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Template } from '../../sidecar/guests/template.ts'
import { HostForwards } from '../../sidecar/qemu/host-forwards.ts'
import { formatCommandLine, QMP_SOCKET, toArguments } from '../../sidecar/qemu/qemu-arguments.ts'
import type { QemuProgram } from '../../sidecar/qemu/qemu-program.ts'
import { connectQmp } from '../../sidecar/qmp/qmp-client.ts'
import { type BenchContext, BenchError } from '../frame/benchmark.ts'
import { startChild } from '../frame/child.ts'
import { ALL_CORES } from '../frame/cores.ts'
import type { TwoWays } from './far-disk.ts'
import { PAGE } from './images.ts'
import { MEMORY_BYTES, PORT } from './platform.ts'
import { waitForFile } from './wait-for-file.ts'

const BOOT_MS = 60_000
const POLL_MS = 50
/** A metadata service that knows nothing. */
const EMPTY_ANSWER = 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n'

export interface Guest extends AsyncDisposable {
  /** What a script writes to its standard output. @throws BenchError */
  run(script: string): Promise<Buffer>
}

export interface GuestParts {
  readonly image: Template
  readonly program: QemuProgram
  readonly ways: TwoWays
}

/** Answers when it takes scripts. @throws BenchError */
export async function startGuest(
  { image, program, ways }: GuestParts,
  context: BenchContext,
): Promise<Guest> {
  const { folder, signal } = context
  const io = join(folder, 'guest')
  await mkdir(io, { recursive: true })
  await using started = new AsyncDisposableStack()
  const metadata = createServer((socket) => {
    socket.on('error', () => undefined).on('data', () => void socket.write(EMPTY_ANSWER))
    started.defer(() => void socket.destroy())
  })
  const metadataSocket = join(io, 'metadata.sock')
  metadata.listen(metadataSocket)
  started.defer(() => void metadata.close())
  await once(metadata, 'listening')
  started.use(
    await startChild({
      name: 'QEMU',
      core: ALL_CORES,
      command: [context.programs['qemu-system-x86_64'].path, ...toCommand({ image, program, ways }, io)],
      cwd: io,
      outputFile: join(io, 'qemu.log'),
      ports: [],
      signal,
    }),
  )
  await waitForFile(join(io, QMP_SOCKET), signal)
  const qmp = await connectQmp(join(io, QMP_SOCKET), { signal })
  started.defer(() => qmp.close())
  const forwards = await new HostForwards(qmp).set([PORT])
  await qmp.execute('cont')
  const url = `http://127.0.0.1:${forwards[PORT]?.port}`
  await waitForPage(url, signal)
  const owned = started.move()
  return { run: (script) => run(url, script, signal), [Symbol.asyncDispose]: () => owned.disposeAsync() }
}

function toCommand({ image, program, ways }: GuestParts, io: string): string[] {
  const { version, accel, ...rate } = program
  const link = {
    kind: 'user',
    mac: '52:54:00:00:00:01',
    address: '169.254.0.15/16',
    gateway: '169.254.0.2',
    nameServer: '',
    network: '169.254.0.0/16',
    isRestricted: true,
    metadataSocket: join(io, 'metadata.sock'),
  } as const
  const commandLine = formatCommandLine(link, { epochSeconds: Math.floor(Date.now() / 1_000), ...rate })
  const { kernelFile, initramfsFile, toolsFile } = image
  const files = { kernelFile, initramfsFile, toolsFile, commandLine }
  const machine = { version, accel, cpus: 1, memoryBytes: MEMORY_BYTES, ...files }
  const sockets = { path: io, io, disk: io, net: io }
  const argv = toArguments(machine, { sockets, link, disk: ways.rootSocket }, 'boot')
  const more = [
    { id: 'near', path: ways.nearSocket },
    { id: 'far', path: ways.farSocket },
  ].flatMap((disk) => toDisk(argv, { id: disk.id, path: relative(io, disk.path) }))
  return [...argv, ...more]
}

/** Attached as the first one is. */
function toDisk(argv: readonly string[], { id, path }: { readonly id: string; readonly path: string }) {
  const first = argv.find((word) => word.startsWith('vhost-user-blk,chardev=disk'))
  if (first === undefined) throw new BenchError('Landfall no longer attaches disks as vhost-user-blk')
  const device = first.replace('chardev=disk', `chardev=${id}`)
  return ['-chardev', `socket,id=${id},path=${path}`, '-device', device]
}

async function waitForPage(url: string, signal: AbortSignal): Promise<void> {
  const deadline = performance.now() + BOOT_MS
  for (;;) {
    const limit = AbortSignal.any([signal, AbortSignal.timeout(1_000)])
    const isUp = await fetch(`${url}/${PAGE}`, { signal: limit }).then(
      async (response) => (await response.text()) !== '' && response.ok,
      () => false,
    )
    if (isUp) return
    signal.throwIfAborted()
    if (performance.now() > deadline) throw new BenchError('the guest with three disks does not answer')
    await sleep(POLL_MS)
  }
}

async function run(url: string, script: string, signal: AbortSignal): Promise<Buffer> {
  const response = await fetch(`${url}/cgi-bin/shell.cgi`, { method: 'POST', body: script, signal })
  const body = Buffer.from(await response.arrayBuffer())
  if (response.ok) return body
  throw new BenchError(`the guest answered ${response.status}: ${body.toString('latin1', 0, 500)}`)
}
