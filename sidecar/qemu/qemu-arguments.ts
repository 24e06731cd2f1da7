/** QEMU's command line for a microvm: every device named, nothing by default, every format said. */

import { relative } from 'node:path'
import type { SocketFolder } from '../hypervisor/vm-folder.ts'
import { INPUT_FD } from '../launch.ts'
import type { GuestLink } from '../network/guest-network.ts'

/** What a guest's memory depends on: it can go on only in a machine that is the same. */
export interface QemuMachine {
  /** As `qemu-system-x86_64 --version` says. */
  readonly version: string
  readonly accel: 'kvm' | 'tcg'
  readonly cpus: number
  readonly memoryBytes: number
  readonly kernelFile: string
  readonly initramfsFile: string
  readonly toolsFile: string
  readonly commandLine: string
}

export interface QemuPlace {
  readonly sockets: SocketFolder
  readonly link: GuestLink
  /** A vhost-user-blk socket. */
  readonly disk: string
}

/** Names of its sockets in `sockets.io`, where it runs. */
export const QMP_SOCKET = 'qmp'
export const AGENT_SOCKET = 'agent'
export const CONSOLE_SOCKET = 'console'

const TRANSLATION_CACHE_MIB = 32
const SANDBOX = 'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny'

export interface GuestClock {
  /** The time at which the guest starts, which its clock may not know. */
  readonly epochSeconds: number
  /** How fast the processor counts, for a guest that would measure it in vain. */
  readonly tscKhz?: number
}

/** lpj: the kernel's loops in a tick of 4 ms. */
const LOOPS_PER_KHZ = 4

export function formatCommandLine(link: GuestLink, { epochSeconds, tscKhz }: GuestClock): string {
  return [
    'console=ttyS0 quiet reboot=t panic=-1',
    ...(tscKhz === undefined ? [] : [formatTscRate(tscKhz)]),
    `landfall.ip=${link.address}`,
    `landfall.gw=${link.gateway}`,
    `landfall.dns=${link.nameServer}`,
    `landfall.mac=${link.mac}`,
    `landfall.epoch=${epochSeconds}`,
  ].join(' ')
}

/**
 * Several guests at once under emulation hang while they measure it, and a wrong rate is a wrong clock. Reliable: on a
 * busy host a guest misses ticks, blames the counter, and would count ticks instead, of 4 ms and fewer than there were.
 */
function formatTscRate(khz: number): string {
  return `tsc_early_khz=${khz} lpj=${khz * LOOPS_PER_KHZ} no_timer_check tsc=reliable`
}

/** It waits for the command to run. One that wakes reads its memory by itself, and answers nothing before. */
export function toArguments(machine: QemuMachine, place: QemuPlace, how: 'boot' | 'wake'): readonly string[] {
  return [
    ...['-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot', '-S', '-sandbox', SANDBOX],
    ...(how === 'wake' ? ['-incoming', `fd:${INPUT_FD}`] : []),
    ...toBoard(machine),
    ...toSockets(),
    ...toDisks(machine, place),
    ...toNetwork(place),
    ...['-object', 'rng-random,id=random,filename=/dev/urandom'],
    ...['-device', 'virtio-rng-device,rng=random'],
    ...['-device', 'virtio-balloon-device,free-page-reporting=on,deflate-on-oom=on'],
  ]
}

function toBoard(machine: QemuMachine): readonly string[] {
  const { accel, cpus, memoryBytes, kernelFile, initramfsFile, commandLine } = machine
  return [
    // Without the timers of old it never boots under TCG; devices are found through ACPI.
    ...['-M', 'microvm,isa-serial=on,rtc=on,pcie=off,usb=off,memory-backend=memory'],
    ...['-global', 'virtio-mmio.force-legacy=false'],
    ...['-accel', accel === 'kvm' ? 'kvm' : `tcg,thread=multi,tb-size=${TRANSLATION_CACHE_MIB}`],
    ...['-cpu', accel === 'kvm' ? 'host' : 'max', '-smp', String(cpus)],
    // Shared, for the process that serves the disk.
    ...['-m', `${memoryBytes}B`, '-object', `memory-backend-memfd,id=memory,size=${memoryBytes}B,share=on`],
    ...['-kernel', kernelFile, '-initrd', initramfsFile, '-append', commandLine],
  ]
}

/** They listen, so that they outlive whoever is connected; what comes while nobody is, is dropped. */
function toSockets(): readonly string[] {
  const chardev = (name: string) => ['-chardev', `socket,id=${name},path=${name},server=on,wait=off`]
  return [
    ...chardev(QMP_SOCKET),
    ...['-mon', `chardev=${QMP_SOCKET},mode=control`],
    ...chardev(CONSOLE_SOCKET),
    ...['-serial', `chardev:${CONSOLE_SOCKET}`],
    ...chardev(AGENT_SOCKET),
    ...['-device', 'virtio-serial-device'],
    ...['-device', `virtserialport,chardev=${AGENT_SOCKET},name=landfall`],
  ]
}

/** QEMU would never guess a format here: the root disk comes as blocks, and our tools are said to be raw. */
function toDisks({ toolsFile }: QemuMachine, { sockets, disk }: QemuPlace): readonly string[] {
  const file = escapeValue(toolsFile)
  return [
    ...['-chardev', `socket,id=disk,path=${escapeValue(relative(sockets.io, disk))}`],
    // With config-wce the storage daemon says "write through", and the guest never asks for a flush: a killed daemon
    // then loses what the guest had synced.
    ...['-device', 'vhost-user-blk,chardev=disk,config-wce=off'],
    ...['-blockdev', `driver=file,node-name=tools-file,filename=${file},read-only=on`],
    ...['-blockdev', 'driver=raw,node-name=tools,file=tools-file,read-only=on'],
    ...['-device', 'virtio-blk-device,drive=tools'],
  ]
}

function toNetwork({ link, sockets }: QemuPlace): readonly string[] {
  const device = ['-device', `virtio-net-device,netdev=net,mac=${link.mac}`]
  if (link.kind === 'tap') {
    const tap = `tap,id=net,ifname=${link.device},script=no,downscript=no,vhost=off`
    return ['-netdev', tap, ...device]
  }
  const [prefix = ''] = link.nameServer === '' ? [] : [`,dns=${link.nameServer}`]
  const [guest = ''] = link.address.split('/')
  const user = [
    `user,id=net,net=${link.network},host=${link.gateway}${prefix},dhcpstart=${guest},ipv6=off`,
    `restrict=${link.isRestricted ? 'on' : 'off'}`,
    'guestfwd=tcp:169.254.169.254:80-chardev:metadata',
  ]
  const metadata = escapeValue(relative(sockets.io, link.metadataSocket))
  return [
    // The sidecar that answers there may be started again.
    ...['-chardev', `socket,id=metadata,path=${metadata},reconnect=1`],
    ...['-netdev', user.join(',')],
    ...device,
  ]
}

/** A comma ends a value unless it is doubled. */
function escapeValue(value: string): string {
  return value.replaceAll(',', ',,')
}
