/** A guest program that keeps numbered records on its disk, and a client that has it write them one after the other. */

import { chmod, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pace } from 'node:timers/promises'
import type { Test } from 'tap'
import { findBootFiles } from '../../sidecar/guests/boot-files.ts'
import { buildHelloTree } from '../../sidecar/guests/small-image.ts'
import { createTemplates } from '../../sidecar/guests/template-store.ts'
import { folderFor } from '../helpers/folder.ts'
import { guestDataFor } from '../helpers/guest-landfall.ts'
import { type Answer, ask } from './ask.ts'
import type { EdgeProcess } from './edge-process.ts'
import { DOMAIN } from './numbered-rows.ts'

/** The image in which the program is. */
export const RECORDS_IMAGE = 'records'
const IMAGE_BYTES = 268_435_456
const PAUSE_MS = 40
const SECTOR_BYTES = 512
const FAILURES_KEPT = 10

/**
 * /cgi-bin/record.cgi?N: writes the record N, and answers when fsync(2) says that it is on disk: `ok N`, the guest's
 * boot, how often it was asked since (in memory), its uptime in seconds, its disk's size in sectors. Without a number: all
 * records.
 */
const PROGRAM = `#!/bin/sh
printf 'Content-Type: text/plain\\r\\n\\r\\n'
[ -n "$QUERY_STRING" ] || { [ ! -f /tmp/records ] || cat /tmp/records; exit 0; }
asked=0
[ -f /dev/shm/asked ] && read -r asked </dev/shm/asked
asked=$((asked + 1))
echo $asked >/dev/shm/asked
echo "$QUERY_STRING" | dd of=/tmp/records oflag=append conv=notrunc,fsync 2>/dev/null || exit 1
read -r boot </proc/sys/kernel/random/boot_id
read -r uptime _ </proc/uptime
read -r sectors </sys/block/vda/size
echo ok "$QUERY_STRING" $boot $asked $uptime $sectors
`

/** A data folder with the image. */
export async function recordsDataFor(t: Test): Promise<string> {
  const data = await guestDataFor(t)
  const templates = createTemplates(data)
  const digest = /boot\/([0-9a-f]+)\//.exec((await templates.get('hello')).kernelFile)?.[1] ?? ''
  const boot = await findBootFiles(data, digest)
  if (boot === undefined) throw new Error(`there are no boot files ${digest}`)
  const tree = join(folderFor(t), 'tree')
  const { config } = await buildHelloTree(tree, boot)
  const program = join(tree, 'srv/hello/cgi-bin/record.cgi')
  await writeFile(program, PROGRAM)
  await chmod(program, 0o755)
  await templates.packTemplate({ name: RECORDS_IMAGE, tree, config, boot: digest, sizeBytes: IMAGE_BYTES })
  return data
}

/** One answer of the guest. */
export interface Written {
  readonly number: number
  /** The id of the guest's boot. */
  readonly boot: string
  /** How often it was asked since. */
  readonly asked: number
  readonly uptimeSeconds: number
  readonly diskBytes: number
}

export interface RecordWriter {
  readonly written: readonly Written[]
  /** Of requests that were not answered as they should be. */
  readonly failures: () => readonly string[]
  /** Settles when the last request is over. */
  readonly stop: () => Promise<void>
}

type Edge = Pick<EdgeProcess, 'httpsPort' | 'ca'>

export function startWriter(t: Test, edge: Edge, vm: string, first = 1): RecordWriter {
  const stopping = new AbortController()
  const written: Written[] = []
  const failures: string[] = []
  const run = async () => {
    for (let number = first; !stopping.signal.aborted; number += 1) {
      const at = new Date().toISOString()
      await write(edge, vm, number).then(
        (answer) => written.push(answer),
        (error: unknown) =>
          failures.length < FAILURES_KEPT && failures.push(`${at} ${vm} ${number}: ${error}`),
      )
      await pace(PAUSE_MS, undefined, { signal: stopping.signal }).catch(() => undefined)
    }
  }
  const running = run()
  const stop = async () => {
    stopping.abort()
    await running
  }
  t.teardown(stop)
  return { written, failures: () => failures, stop }
}

/** @throws Error with what was answered instead */
export async function write(edge: Edge, vm: string, number: number): Promise<Written> {
  const { status, body } = await askGuest(edge, vm, `/cgi-bin/record.cgi?${number}`)
  const [ok, echoed, boot = '', asked, uptime, sectors] = body.trim().split(' ')
  if (status !== 200 || ok !== 'ok' || Number(echoed) !== number)
    throw new Error(`${status} ${body.slice(0, 200)}`)
  return {
    number,
    boot,
    asked: Number(asked),
    uptimeSeconds: Number(uptime),
    diskBytes: Number(sectors) * SECTOR_BYTES,
  }
}

/** @throws Error when it does not answer, or holds anything but whole records */
export async function readRecords(edge: Edge, vm: string): Promise<readonly number[]> {
  const { status, body } = await askGuest(edge, vm, '/cgi-bin/record.cgi')
  if (status !== 200 || !/^(\d+\n)*$/.test(body)) throw new Error(`${vm}: ${status} ${body.slice(0, 200)}`)
  return body.split('\n').slice(0, -1).map(Number)
}

function askGuest(edge: Edge, vm: string, path: string): Promise<Answer> {
  return ask(edge, { hostname: `${vm}.${DOMAIN}`, path })
}

/** Acknowledged records that are not there. */
export function findLost(records: readonly number[], written: readonly Written[]): readonly number[] {
  const held = new Set(records)
  return written.map(({ number }) => number).filter((number) => !held.has(number))
}

/** One guest all the time: the same boot, a counter in its memory that only rises, time that goes on. */
export function findBreaks(written: readonly Written[]): readonly string[] {
  return written.slice(1).flatMap((now, index) => {
    const before = written[index]
    if (before === undefined) return []
    const goesOn =
      now.boot === before.boot && now.asked > before.asked && now.uptimeSeconds >= before.uptimeSeconds
    return goesOn ? [] : [`${JSON.stringify(before)} then ${JSON.stringify(now)}`]
  })
}
