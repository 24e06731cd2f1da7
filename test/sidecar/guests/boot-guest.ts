/** A guest under QEMU with all that the boot protocol names around it: agent port, metadata service, forwarded ports. */

import { spawn } from 'node:child_process'
import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Test } from 'tap'
import type { BootFiles } from '../../../sidecar/guests/boot-files.ts'
import { measureTscKhz } from '../../../sidecar/guests/tsc-rate.ts'
import { folderFor } from '../../helpers/folder.ts'
import { findFreePort } from '../../helpers/free-port.ts'
import { until } from '../../helpers/until.ts'

export interface GuestSettings {
  readonly boot: BootFiles
  /** A raw ext4 image of this test's own; the guest writes to it. */
  readonly rootFile: string
  readonly hostname: string
  /** May be changed while the guest runs. */
  authorizedKeys: string
}

export interface BootedGuest {
  /** On 127.0.0.1, for the guest's ports 8000 and 22. */
  readonly httpPort: number
  readonly sshPort: number
  /** `ssh-ed25519 AAAA…` */
  readonly hostKey: string
  /** What the agent has said. */
  readonly lines: readonly string[]
  readonly startedAt: number
  send(line: string): void
  /** Waits for a line. */
  hear(line: string | RegExp, deadlineMs?: number): Promise<string>
  /** Sends a request with an id of its own. @returns the agent's last word on it, without the id */
  ask(request: string, rest?: string): Promise<string>
  /** The agent's port is closed and opened again, as by a host that starts anew. */
  reconnect(): Promise<void>
  resizeDisk(bytes: number): Promise<void>
  /** QEMU's exit code, once it has ended. */
  readonly ended: Promise<unknown>
  readonly pid: number
}

const ADDRESS = 'landfall.ip=169.254.0.15/16 landfall.gw=169.254.0.2 landfall.dns=169.254.0.3'

export async function bootedGuestFor(t: Test, settings: GuestSettings): Promise<BootedGuest> {
  const folder = folderFor(t)
  const key = generateKeyPairSync('ed25519').privateKey
  await metadataFor(t, join(folder, 'metadata'), { settings, key })
  const [httpPort, sshPort] = [await findFreePort(), await findFreePort()]
  const args = toArguments({ folder, settings, forwards: { 8000: httpPort, 22: sshPort } })
  const khz = await measureTscKhz(folder)
  const kernel = `console=ttyS0 quiet panic=-1 reboot=t tsc_early_khz=${khz} lpj=${khz * 4} no_timer_check tsc=reliable ${ADDRESS}`
  const startedAt = performance.now()
  // A test that is killed takes its guest along.
  const command = ['--pdeathsig', 'KILL', '--', 'qemu-system-x86_64', ...args, '-append', kernel]
  const qemu = spawn('setpriv', command, { stdio: ['ignore', 'ignore', 'inherit'] })
  const ended = once(qemu, 'exit').then(([code]: unknown[]) => code)
  t.teardown(async () => {
    qemu.kill('SIGKILL')
    await ended
  })
  const lines: string[] = []
  const dialAgent = async () => {
    const socket = await dial(join(folder, 'agent'))
    createInterface({ input: socket }).on('line', (line) => lines.push(line))
    t.teardown(() => socket.destroy())
    return socket
  }
  let agent = await dialAgent()
  let requests = 0
  const send = (line: string) => agent.write(`${line}\n`)
  const hear = async (wanted: string | RegExp, deadlineMs = 30_000) => {
    const isIt = (line: string) => (typeof wanted === 'string' ? line === wanted : wanted.test(line))
    await until(() => lines.some(isIt), `${wanted} from the agent`, deadlineMs).catch((error: unknown) => {
      t.comment(lines.join('\n'), readFileSync(join(folder, 'console'), 'latin1').slice(-2000))
      throw error
    })
    return lines.find(isIt) ?? ''
  }
  return {
    httpPort,
    sshPort,
    hostKey: `ssh-ed25519 ${toWire('ssh-ed25519', publicBytesOf(key)).toString('base64')}`,
    lines,
    startedAt,
    send,
    hear,
    ask: async (request, rest = '') => {
      requests += 1
      send(`${request} r${requests} ${rest}`)
      const said = await hear(new RegExp(`^(done|failed) r${requests}( |$)`))
      return said.replace(` r${requests}`, '')
    },
    reconnect: async () => {
      agent.destroy()
      await once(agent, 'close')
      agent = await dialAgent()
    },
    resizeDisk: (bytes) =>
      callQmp(join(folder, 'qmp'), { execute: 'block_resize', arguments: { device: 'root', size: bytes } }),
    ended,
    pid: qemu.pid ?? 0,
  }
}

interface MachineSettings {
  readonly folder: string
  readonly settings: GuestSettings
  readonly forwards: Readonly<Record<number, number>>
}

function toArguments({ folder, settings: { boot, rootFile }, forwards }: MachineSettings): string[] {
  const file = (name: string) => join(folder, name)
  const network =
    'user,id=net,net=169.254.0.0/16,host=169.254.0.2,dns=169.254.0.3,dhcpstart=169.254.0.15,restrict=on'
  const ports = Object.entries(forwards).map(([guest, own]) => `hostfwd=tcp:127.0.0.1:${own}-:${guest}`)
  return `
    -M microvm,isa-serial=on,rtc=on -accel tcg,thread=multi,tb-size=32 -cpu qemu64,+arat -smp 1 -m 128
    -nodefaults -no-user-config -display none -no-reboot -serial file:${file('console')}
    -qmp unix:${file('qmp')},server=on,wait=off
    -kernel ${boot.kernelFile} -initrd ${boot.initramfsFile} -global virtio-mmio.force-legacy=false
    -drive if=none,id=root,file=${rootFile},format=raw,discard=unmap -device virtio-blk-device,drive=root
    -drive if=none,id=tools,file=${boot.toolsFile},format=raw,readonly=on -device virtio-blk-device,drive=tools
    -chardev socket,id=metadata,path=${file('metadata')}
    -netdev ${network},guestfwd=tcp:169.254.169.254:80-chardev:metadata,${ports.join(',')}
    -device virtio-net-device,netdev=net -device virtio-rng-device -device virtio-serial-device
    -chardev socket,id=agent,path=${file('agent')},server=on,wait=off
    -device virtserialport,chardev=agent,name=landfall
    -device virtio-balloon-device,free-page-reporting=on,deflate-on-oom=on
  `
    .trim()
    .split(/\s+/)
}

/** One stream of requests, as QEMU's user-mode network forwards them. */
async function metadataFor(
  t: Test,
  path: string,
  { settings, key }: { readonly settings: GuestSettings; readonly key: KeyObject },
) {
  const answer = (request: string) => {
    if (!request.includes('\r\nLandfall-Metadata: 1')) return 'no'
    if (request.startsWith('GET /v1/authorized-keys ')) return settings.authorizedKeys
    const lines = {
      hostname: settings.hostname,
      authorized_keys: settings.authorizedKeys,
      ssh_host_dropbear_key: toWire('ssh-ed25519', Buffer.concat([privateBytesOf(key), publicBytesOf(key)])),
    }
    return Object.entries(lines)
      .map(([name, value]) => `${name} ${Buffer.from(value).toString('base64')}\n`)
      .join('')
  }
  const server = createServer((socket) => {
    t.teardown(() => socket.destroy())
    socket.on('error', () => undefined)
    let text = ''
    socket.setEncoding('latin1').on('data', (chunk) => {
      text += String(chunk)
      if (!text.endsWith('\r\n\r\n')) return
      const body = answer(text)
      text = ''
      socket.write(
        `HTTP/1.1 200 OK\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
      )
    })
  })
  server.listen(path)
  await once(server, 'listening')
  t.teardown(() => server.close())
}

function publicBytesOf(key: KeyObject): Buffer {
  return Buffer.from(key.export({ format: 'jwk' }).x ?? '', 'base64url')
}

function privateBytesOf(key: KeyObject): Buffer {
  return Buffer.from(key.export({ format: 'jwk' }).d ?? '', 'base64url')
}

/** Strings with their lengths before them (RFC 4251 section 5). */
function toWire(...parts: readonly (string | Buffer)[]): Buffer {
  return Buffer.concat(
    parts.flatMap((part) => {
      const length = Buffer.alloc(4)
      length.writeUInt32BE(part.length)
      return [length, Buffer.from(part)]
    }),
  )
}

async function callQmp(path: string, command: object): Promise<void> {
  const socket = await dial(path)
  const answers: string[] = []
  createInterface({ input: socket }).on('line', (line) => answers.push(line))
  socket.write(`{"execute":"qmp_capabilities"}\n${JSON.stringify(command)}\n`)
  const isReturn = (line: string) => line.includes('"return"') || line.includes('"error"')
  await until(() => answers.filter(isReturn).length === 2, 'answers of QMP')
  socket.destroy()
  if (answers.some((line) => line.includes('"error"'))) throw new Error(answers.join('\n'))
}

async function dial(path: string): Promise<Socket> {
  const found: { socket?: Socket } = {}
  await until(async () => {
    const socket = connect(path)
    const isOpen = await once(socket, 'connect').then(
      () => true,
      () => false,
    )
    if (isOpen) found.socket = socket
    return isOpen
  }, `a listener on ${path}`)
  if (!found.socket) throw new Error(`nothing listens on ${path}`)
  return found.socket.on('error', () => undefined)
}
