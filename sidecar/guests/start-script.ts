/** Writes how an image's command is started as a script that our init runs, whatever texts the image gave. */

import type { ImageConfig } from './template.ts'

/** Where the tools disk has it: an image may have no shell of its own. */
const BUSYBOX = '/.landfall/bin/busybox'
const SETPRIV = '/.landfall/bin/setpriv'
const ROOT = { uid: 0, gid: 0, groups: [] }

export interface UserIds {
  readonly uid: number
  readonly gid: number
  /** Those besides `gid`. */
  readonly groups: readonly number[]
}

export interface StartSpec extends Pick<ImageConfig, 'environment' | 'workingFolder'> {
  readonly command: readonly string[]
  /** Root when absent. */
  readonly ids?: UserIds
}

/**
 * Each text stands in single quotes, inside which a shell reads nothing but the closing quote; the command's own
 * process takes the place of the script's. Texts must have no NUL, which no argument can carry.
 */
export function toStartScript({
  command,
  environment = {},
  workingFolder = '/',
  ids = ROOT,
}: StartSpec): string {
  const variables = Object.entries(environment).map(([name, value]) => `${name}=${value}`)
  const line = [BUSYBOX, 'env', '-i', '--', ...variables, SETPRIV, ...runAs(ids), '--', ...command]
  return [
    `#!${BUSYBOX} sh`,
    '# Written by "landfall image build" from the configuration of the image.',
    `cd ${quote(workingFolder)} || exit 1`,
    `exec ${line.map(quote).join(' ')}`,
    '',
  ].join('\n')
}

/**
 * For root as well: setpriv looks for the command in the PATH of the image, where BusyBox's `env` would run its own
 * `httpd` rather than the image's.
 */
function runAs({ uid, gid, groups }: UserIds): readonly string[] {
  const others = groups.length === 0 ? ['--clear-groups'] : ['--groups', groups.join(',')]
  return ['--reuid', String(uid), '--regid', String(gid), ...others]
}

function quote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`
}
