/** Boots an image under QEMU, without a host around it: a disk over the template, a metadata service of one answer, ports. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readFileSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as pause } from 'node:timers/promises'
import type { Test } from 'tap'
import type { Template } from '../../../sidecar/guests/template.ts'
import { runCommand } from '../../../sidecar/run-command.ts'
import { findFreePort } from '../../helpers/free-port.ts'

export interface BootSettings {
  readonly memoryMiB?: number
  /** A port of the guest. */
  readonly port: number
  readonly authorizedKeys?: string
  readonly hostname?: string
}

export interface BootedImage {
  /** On 127.0.0.1, where the guest's port is. */
  readonly port: number
  /** Settles when the guest's agent has said that something listens there. @throws Error after `timeoutMs` with the console's end */
  listening(timeoutMs: number): Promise<void>
  readConsole(): string
}

/** The time stamp counter cannot be measured in an emulator that shares its machine. */
const KERNEL =
  'console=ttyS0 quiet panic=-1 reboot=t tsc_early_khz=1000000 lpj=4000000 no_timer_check landfall.ip=169.254.0.15/16 landfall.gw=169.254.0.2 landfall.dns=169.254.0.3'

export async function bootedImageFor(
  t: Test,
  template: Template,
  folder: string,
  settings: BootSettings,
): Promise<BootedImage> {
  mkdirSync(folder, { recursive: true })
  const file = (name: string) => join(folder, name)
  await runCommand('qemu-img', [
    'create',
    '-q',
    '-f',
    'qcow2',
    '-F',
    'raw',
    '-b',
    template.rootFile,
    file('disk'),
  ])
  await metadataFor(t, file('metadata'), settings)
  const port = await findFreePort()
  const network =
    'user,id=net,net=169.254.0.0/16,host=169.254.0.2,dns=169.254.0.3,dhcpstart=169.254.0.15,restrict=on'
  const forwards = `guestfwd=tcp:169.254.169.254:80-chardev:metadata,hostfwd=tcp:127.0.0.1:${port}-:${settings.port}`
  const vmm = spawn(
    'qemu-system-x86_64',
    [
      ...['-M', 'microvm,isa-serial=on,rtc=on', '-accel', 'tcg,thread=multi,tb-size=32', '-smp', '1'],
      ...[
        '-m',
        String(settings.memoryMiB ?? 128),
        '-nodefaults',
        '-no-user-config',
        '-nographic',
        '-no-reboot',
      ],
      ...['-kernel', template.kernelFile, '-initrd', template.initramfsFile],
      ...['-append', `${KERNEL} landfall.epoch=${Math.floor(Date.now() / 1_000)}`],
      ...['-serial', `file:${file('console')}`, '-global', 'virtio-mmio.force-legacy=false'],
      ...[
        '-drive',
        `if=none,id=root,file=${file('disk')},format=qcow2`,
        '-device',
        'virtio-blk-device,drive=root',
      ],
      ...['-drive', `if=none,id=tools,file=${template.toolsFile},format=raw,readonly=on`],
      ...['-device', 'virtio-blk-device,drive=tools', '-device', 'virtio-rng-device'],
      ...['-chardev', `socket,id=metadata,path=${file('metadata')}`, '-netdev', `${network},${forwards}`],
      ...['-device', 'virtio-net-device,netdev=net', '-device', 'virtio-serial-device'],
      ...['-chardev', `socket,id=agent,path=${file('agent')},server=on,wait=off`],
      ...['-device', 'virtserialport,chardev=agent,name=landfall'],
    ],
    { stdio: ['ignore', 'inherit', 'inherit'] },
  )
  const ended = once(vmm, 'exit')
  t.teardown(async () => {
    vmm.kill('SIGKILL')
    await ended
  })
  const agent = await dial(file('agent'))
  t.teardown(() => agent.destroy())
  const lines: string[] = []
  createInterface({ input: agent }).on('line', (line) => lines.push(line))
  const readConsole = () => readFileSync(file('console'), 'latin1')
  const isListening = () =>
    lines.some((line) => line.startsWith('ports ') && line.split(' ').includes(String(settings.port)))
  return {
    port,
    readConsole,
    listening: async (timeoutMs) => {
      const deadline = Date.now() + timeoutMs
      while (!isListening()) {
        if (Date.now() > deadline || vmm.exitCode !== null)
          throw new Error(
            `port ${settings.port} is not there: ${lines.slice(-3).join(' | ')}\n${readConsole().slice(-1_500)}`,
          )
        await pause(20)
      }
    },
  }
}

/** Answers each request with the boot information; QEMU shows all requests of the guest as one stream. */
async function metadataFor(t: Test, path: string, { authorizedKeys = '', hostname = 'guest' }: BootSettings) {
  const encode = (text: string) => Buffer.from(text).toString('base64')
  const body = `hostname ${encode(hostname)}\nauthorized_keys ${encode(authorizedKeys)}\nssh_host_ed25519_key ${encode(await makeHostKey(path))}\n`
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined)
    socket.setEncoding('latin1')
    let text = ''
    socket.on('data', (chunk) => {
      text += String(chunk)
      if (!text.includes('\r\n\r\n')) return
      text = ''
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`)
    })
  })
  server.listen(path)
  await once(server, 'listening')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
}

async function makeHostKey(path: string): Promise<string> {
  const file = `${path}-host-key`
  await runCommand('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', file])
  return readFileSync(file, 'utf8')
}

async function dial(path: string): Promise<Socket> {
  const deadline = Date.now() + 10_000
  for (;;) {
    const socket = connect(path)
    const isOpen = await once(socket, 'connect').then(
      () => true,
      () => false,
    )
    if (isOpen) return socket
    if (Date.now() > deadline) throw new Error(`nothing listens on ${path}`)
    await pause(20)
  }
}
