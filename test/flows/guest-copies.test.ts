/** Copies and snapshots of a guest that writes all the time: each mounts clean and holds a consistent prefix. */

import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { folderFor } from '../helpers/folder.ts'
import { findManifest, mountLayer, readInside } from '../helpers/guest-disk.ts'
import {
  type GuestLandfall,
  guestLandfallFor,
  ownerFor,
  type Ssh,
  untilSlowly,
} from '../helpers/guest-landfall.ts'
import { guestOptions } from '../helpers/guests.ts'
import { missingSsh } from '../helpers/sshd.ts'

const { skip = missingSsh(), timeout } = { skip: undefined, ...(await guestOptions()) }
const TIMES = 10

/** Each number goes to one file, then to another, and counts as written when both are on the disk. */
const WRITER = [
  'mkdir -p /srv/writer',
  'cd /srv/writer',
  'n=0',
  'while n=$((n+1))',
  'do echo $n >>first; sync; echo $n >>second; sync; echo $n >/dev/shm/next; mv /dev/shm/next /dev/shm/written',
  'done',
].join('\n')
const WRITTEN = `#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\n'; cat /dev/shm/written\n`

interface Point {
  readonly name: string
  /** The layer that was frozen at this moment. */
  readonly layer: string
  /** What the guest knew to be on its disk before and after. */
  readonly floor: number
  readonly ceiling: number
}

t.test('copies and snapshots of a guest that writes', { skip, timeout }, async (t) => {
  const landfall = await guestLandfallFor(t, { hello: 'kept' })
  await startWriter(landfall, (await ownerFor(t, landfall)).ssh)
  const points: Point[] = []
  for (let time = 1; time <= TIMES; time += 1) {
    points.push(await pointOf(landfall, `copy${time}`, () => copy(landfall, `copy${time}`)))
    points.push(await pointOf(landfall, `snapshot ${time}`, () => snapshot(landfall)))
  }
  for (const point of points) await checkPoint(t, landfall, point)
  t.equal(new Set(points.map(({ layer }) => layer)).size, 2 * TIMES)

  await landfall.must('vm', 'copy', 'hello', 'twin')
  await landfall.must('port', 'set', 'twin', '8000', '--public')
  await untilSlowly(async () => (await landfall.ask('twin')).status === 200, 'the copy answers')
  t.match(await landfall.ask('twin'), { text: /^Hello from the VM twin\.localhost/ }, 'as somebody else')
  t.not((await landfall.show('twin')).report?.hostKey, (await landfall.show('hello')).report?.hostKey)
  t.ok((await writtenBy(landfall)) > 0, 'the source goes on')
})

async function startWriter(landfall: GuestLandfall, ssh: Ssh): Promise<void> {
  await landfall.must('port', 'set', 'hello', '22', '--public')
  const cgi = '/srv/hello/cgi-bin/written.cgi'
  const lines = [
    `echo ${Buffer.from(WRITTEN).toString('base64')} | base64 -d >${cgi}`,
    `chmod 755 ${cgi}`,
    `echo ${Buffer.from(WRITER).toString('base64')} | base64 -d >/dev/shm/writer`,
    'setsid sh /dev/shm/writer </dev/null >/dev/null 2>&1 &',
  ]
  const { code, stderr } = await ssh('hello', lines.join('\n'))
  if (code !== 0) throw new Error(`the writer did not start: ${stderr}`)
  await untilSlowly(async () => (await writtenBy(landfall)) > 0, 'it writes')
}

async function writtenBy(landfall: GuestLandfall): Promise<number> {
  return Number((await landfall.ask('hello', { path: '/cgi-bin/written.cgi' })).text)
}

async function pointOf(landfall: GuestLandfall, name: string, take: () => Promise<string>): Promise<Point> {
  const before = await writtenBy(landfall)
  await untilSlowly(async () => (await writtenBy(landfall)) > before, 'it writes on')
  const floor = await writtenBy(landfall)
  const layer = await take()
  return { name, layer, floor, ceiling: (await writtenBy(landfall)) + 1 }
}

/** The copy is taken when its VM first starts, which need not come up for that. */
async function copy(landfall: GuestLandfall, name: string): Promise<string> {
  const made = await landfall.admin('POST', '/v1/vms', { name, source: { vm: 'hello' } })
  if (made.status !== 201) throw new Error(`the copy was refused: ${JSON.stringify(made.json)}`)
  const manifest = () => findManifest(landfall.dataFolder, name)
  await untilSlowly(async () => (await manifest()) !== undefined, 'the copy has a disk')
  const layer = (await manifest())?.layers.at(-2) ?? ''
  await landfall.admin('DELETE', `/v1/vms/${name}`)
  return layer
}

async function snapshot(landfall: GuestLandfall): Promise<string> {
  const id = await landfall.must('snapshot', 'make', 'hello')
  return (await findManifest(landfall.dataFolder, 'hello'))?.snapshots[id]?.layers.at(-1) ?? ''
}

async function checkPoint(t: Test, { dataFolder }: GuestLandfall, point: Point): Promise<void> {
  const { name, layer, floor, ceiling } = point
  const image = join(folderFor(t), 'image')
  await mountLayer(dataFolder, layer, image)
  const [first, second] = [await numbersIn(image, 'first'), await numbersIn(image, 'second')]
  await rm(image)
  t.ok(isUnbroken(first) && isUnbroken(second), `${name}: nothing is missing in between`)
  t.ok(first.length - second.length === 0 || first.length - second.length === 1, `${name}: in order`)
  t.ok(
    floor <= second.length && second.length <= ceiling,
    `${name}: ${floor} ≤ ${second.length} ≤ ${ceiling}`,
  )
}

async function numbersIn(image: string, file: string): Promise<readonly number[]> {
  return (await readInside(image, `/srv/writer/${file}`)).split('\n').filter(Boolean).map(Number)
}

function isUnbroken(numbers: readonly number[]): boolean {
  return numbers.every((number, index) => number === index + 1)
}
