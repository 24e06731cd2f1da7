/** Where an OCI image is to come from: a registry, a folder in the OCI layout, or an archive. */

import { stat, symlink } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { SidecarError } from '../errors.ts'
import { runBuildStep } from './build-programs.ts'

/** Of skopeo's ways of naming an image those that read a registry or a file: others would open what this host has. */
const LOCAL = ['oci', 'oci-archive', 'docker-archive']
const REGISTRY_REFERENCE = /^[A-Za-z0-9][A-Za-z0-9._/:@[\]-]{0,511}$/
/** A plain name in the work folder, since a colon in a path would end it for skopeo. */
const LINK = 'source'

/**
 * What skopeo is to copy, run in `work`: of `alpine:3.20`, `docker://host/app`, a folder or a file, or these with
 * `oci:`, `oci-archive:` or `docker-archive:` before them and a tag behind them. Relative paths are those of this
 * process. @throws SidecarError image_build_failed
 */
export async function findOciSource(reference: string, work: string): Promise<string> {
  const [, transport = '', rest = ''] = /^([a-z-]+):(.*)$/s.exec(reference) ?? []
  if (LOCAL.includes(transport)) return linkLocal(transport, rest, work)
  if (transport === 'docker' && rest.startsWith('//')) return toRegistrySource(rest.slice(2))
  if (await isThere(reference)) return linkLocal(await findKind(resolve(reference)), reference, work)
  if (/^[./]/.test(reference)) return refuse(`there is no file ${JSON.stringify(reference)}`)
  return toRegistrySource(reference)
}

function toRegistrySource(reference: string): string {
  if (REGISTRY_REFERENCE.test(reference)) return `docker://${reference}`
  const shown = JSON.stringify(reference.slice(0, 200))
  return refuse(`${shown} names neither an image of a registry, nor an OCI folder, nor an archive`)
}

/** `text` is a path, with a tag or a reference behind a colon if it has one; a path may itself have colons. */
async function linkLocal(transport: string, text: string, work: string): Promise<string> {
  const ends = [text.length, ...[...text.matchAll(/:/g)].map(({ index }) => index).reverse()]
  for (const end of ends) {
    if (end === 0 || !(await isThere(text.slice(0, end)))) continue
    await symlink(resolve(text.slice(0, end)), join(work, LINK))
    return `${transport}:${LINK}${text.slice(end)}`
  }
  return refuse(`there is no file ${JSON.stringify(text)}`)
}

async function findKind(path: string): Promise<string> {
  const stats = await stat(path)
  if (stats.isDirectory()) return 'oci'
  if (!stats.isFile()) return refuse(`${path} is neither a folder nor a file`)
  const members = ['--list', '--force-local', '--file', path, '--wildcards', '*oci-layout']
  return runBuildStep('tar', members, { timeoutMs: 120_000 }).then(
    () => 'oci-archive',
    () => 'docker-archive',
  )
}

async function isThere(path: string): Promise<boolean> {
  const stats = await stat(path).catch(() => undefined)
  return stats !== undefined
}

function refuse(detail: string): never {
  throw new SidecarError('image_build_failed', { detail })
}
