/** Turns the user that an image names into ids, by the image's own lists, as a container engine does. */

import { SidecarError } from '../errors.ts'
import { findTextInside } from './image-tree.ts'
import type { UserIds } from './start-script.ts'

export interface ImageUser extends UserIds {
  /** Its home folder, `/` when the image does not know the user. */
  readonly home: string
}

const MAX_ID = 4_294_967_294
const MAX_GROUPS = 64

/**
 * `user` is a name or an id, with a group behind a colon if it has one; a user of whom the image knows no group has
 * group 0. A group that is named stands alone; else those that list the user are added.
 * @throws SidecarError image_build_failed when a name is not in the image
 */
export async function findImageUser(tree: string, user: string): Promise<ImageUser> {
  const [who = '', group = ''] = user.split(':', 2)
  const users = await readRows(tree, '/etc/passwd')
  const row = users.find(([name]) => name === who) ?? users.find(([, , id]) => id === who)
  const groups = await readRows(tree, '/etc/group')
  return {
    uid: toId(row?.[2] ?? who, who),
    gid: group === '' ? toId(row?.[3] ?? '0', who) : findGroup(groups, group),
    groups: group === '' ? findGroupsOf(groups, row?.[0]) : [],
    home: row?.[5] || '/',
  }
}

type Rows = readonly (readonly string[])[]

function findGroup(groups: Rows, group: string): number {
  const row = groups.find(([name]) => name === group)
  return toId(row?.[2] ?? group, group)
}

function findGroupsOf(groups: Rows, name: string | undefined): readonly number[] {
  const listed = groups.filter(
    ([, , , members = '']) => name !== undefined && members.split(',').includes(name),
  )
  return listed.slice(0, MAX_GROUPS).map(([, , id = '']) => toId(id, name ?? ''))
}

async function readRows(tree: string, path: string): Promise<Rows> {
  const text = (await findTextInside(tree, path)) ?? ''
  return text.split('\n').map((line) => line.split(':'))
}

function toId(text: string, who: string): number {
  const id = /^\d{1,10}$/.test(text) ? Number(text) : Number.NaN
  if (id <= MAX_ID) return id
  const detail = `the image is to run as ${JSON.stringify(who)}, whom it does not know`
  throw new SidecarError('image_build_failed', { detail })
}
