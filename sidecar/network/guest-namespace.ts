/**
 * A network namespace per guest, which routes between its tap and the host: the guest is alone on its link, so
 * there is no neighbour whose ARP answers it could forge, and its frames never reach the host as frames.
 */

import { access, readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { macOfSlot } from './ipv4.ts'
import { runNetworkCommand } from './network-command.ts'

/** Where ip-netns(8) keeps them. */
const NAMESPACES = '/run/netns'
/** The guest's gateway; every namespace has it. */
export const GATEWAY = '169.254.1.1'
/** This machine as guests see it. */
export const HOST_ADDRESS = '169.254.1.2'
export const TAP = 'tap0'
const UPLINK = 'up0'
const PREFIX_CHARACTERS = 10
const NAME = /^[a-z][a-z0-9-]*$/

export interface NamespacePlan {
  /** `lf-5`: of the namespace, and of the host's device that leads into it. */
  readonly name: string
  readonly slot: number
  readonly address: string
  /** Who may open the tap. */
  readonly uid: number
  /** Written on the host's device as the last step, so that it tells a whole namespace from one half made. */
  readonly label: string
}

export interface LabelledDevice {
  readonly name: string
  readonly label: string | undefined
}

/** Five digits of a slot have to fit behind it: Linux allows 15 characters. */
export function isDevicePrefix(text: string): boolean {
  return text.length <= PREFIX_CHARACTERS && NAME.test(text)
}

export function fileOfNamespace(name: string): string {
  return join(NAMESPACES, name)
}

/** Nothing of that name may be there. @throws SidecarError network_failed */
export async function createNamespace(plan: NamespacePlan): Promise<void> {
  const { name } = plan
  await runNetworkCommand('ip', ['-batch', '-'], formatHostSide(plan))
  const enter = [`--net=${fileOfNamespace(name)}`, '/bin/sh', '-c', SET_UP_INSIDE]
  await runNetworkCommand('nsenter', enter, formatInside(plan))
  await runNetworkCommand('ip', ['link', 'set', name, 'alias', plan.label])
}

/** Removes what there is of it; the kernel ends the namespace itself with the last process in it. */
export async function deleteNamespace(name: string): Promise<void> {
  const devices = await listDevices()
  const steps = [
    ...(devices.has(name) ? [`link delete ${name}`] : []),
    ...((await hasNamespace(name)) ? [`netns delete ${name}`] : []),
  ]
  if (steps.length > 0) await runNetworkCommand('ip', ['-batch', '-'], formatSteps(steps))
}

/** Names of all that is there, whole or in part. */
export async function listNamespaces(prefix: string): Promise<ReadonlySet<string>> {
  const files = await readdir(NAMESPACES).catch(() => [])
  const names = [...files, ...(await listDevices())]
  return new Set(
    names.filter((name) => name.startsWith(prefix) && /^\d{1,5}$/.test(name.slice(prefix.length))),
  )
}

/** True when nothing of it has gone since it was made. */
export async function isWhole(name: string): Promise<boolean> {
  return (await listDevices()).has(name) && (await hasNamespace(name))
}

interface ListedLink {
  readonly ifname: string
  readonly ifalias?: string
}

/** @throws SidecarError network_failed */
export async function listLabels(): Promise<readonly LabelledDevice[]> {
  const text = await runNetworkCommand('ip', ['-json', 'link', 'show', 'type', 'veth'])
  const links = (text.trim() === '' ? [] : JSON.parse(text)) as readonly ListedLink[]
  return links.map(({ ifname, ifalias }) => ({ name: ifname, label: ifalias }))
}

/** No neighbour is ever asked for: all three are known beforehand. */
function formatHostSide({ name, slot, address }: NamespacePlan): string {
  const [outer, inner] = [macOfSlot('host', slot), macOfSlot('namespace', slot)]
  return formatSteps([
    `netns add ${name}`,
    `link add ${name} address ${outer} type veth peer name ${UPLINK} address ${inner} netns ${name}`,
    `link set ${name} up`,
    `neigh replace ${address} lladdr ${inner} dev ${name} nud permanent`,
    `route replace ${address}/32 dev ${name} src ${HOST_ADDRESS}`,
  ])
}

/** `rp_filter` 1 drops what comes from the tap under any address but the guest's (RFC 3704). */
const SET_UP_INSIDE = `
cd /proc/sys/net &&
for file in ipv6/conf/all/disable_ipv6 ipv6/conf/default/disable_ipv6; do
  [ ! -e $file ] || echo 1 > $file || exit 1
done &&
echo 1 > ipv4/ip_forward &&
echo 1 > ipv4/conf/all/rp_filter &&
echo 0 > ipv4/conf/all/send_redirects &&
echo 0 > ipv4/conf/default/send_redirects &&
exec ip -batch -`

function formatInside({ slot, address, uid }: NamespacePlan): string {
  return formatSteps([
    `link set ${UPLINK} up`,
    `tuntap add dev ${TAP} mode tap user ${uid}`,
    `link set ${TAP} address ${macOfSlot('namespace', slot)} up`,
    `address add ${GATEWAY}/32 dev ${TAP}`,
    `neigh add ${address} lladdr ${macOfSlot('guest', slot)} dev ${TAP} nud permanent`,
    `route add ${address}/32 dev ${TAP}`,
    `neigh add ${HOST_ADDRESS} lladdr ${macOfSlot('host', slot)} dev ${UPLINK} nud permanent`,
    `route add default via ${HOST_ADDRESS} dev ${UPLINK} onlink`,
  ])
}

function formatSteps(steps: readonly string[]): string {
  return `${steps.join('\n')}\n`
}

async function hasNamespace(name: string): Promise<boolean> {
  return access(fileOfNamespace(name)).then(
    () => true,
    () => false,
  )
}

/** `/sys` shows the devices of the namespace that mounted it, `/proc` those of ours. */
async function listDevices(): Promise<ReadonlySet<string>> {
  const text = await readFile('/proc/net/dev', 'utf8')
  return new Set(text.split('\n').flatMap((line) => /^\s*([^\s:]+):/.exec(line)?.[1] ?? []))
}
