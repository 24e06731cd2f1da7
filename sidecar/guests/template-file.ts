/** The file that says what an image of one name is: checked when it is read, since a host may be older than it. */

import { SidecarError } from '../errors.ts'
import type { ImageConfig } from './template.ts'

export interface TemplateFile {
  /** Of the root file system, SHA-256 in hex. */
  readonly digest: string
  /** Of kernel, initramfs and tools, SHA-256 in hex: the name of their folder. */
  readonly boot: string
  readonly config: ImageConfig
  /** What the guest sees. */
  readonly sizeBytes: number
}

/** As a VM's record may name an image, but shorter: it becomes the name of a file. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9._/:@-]{0,199}$/
const DIGEST = /^[0-9a-f]{64}$/
const MAX_PORT = 65_535

export function isImageName(name: string): boolean {
  return NAME.test(name)
}

/** `+` is in no image's name. */
export function fileNameOf(name: string): string {
  return `${name.replaceAll('/', '+')}.json`
}

/** Undefined when the file is none of an image. */
export function findImageName(fileName: string): string | undefined {
  if (!fileName.endsWith('.json')) return undefined
  const name = fileName.slice(0, -'.json'.length).replaceAll('+', '/')
  return isImageName(name) ? name : undefined
}

/** @throws SidecarError image_build_failed when it is not what `packTemplate` wrote */
export function parseTemplateFile(text: string, path: string): TemplateFile {
  const value = parseJson(text)
  if (isTemplateFile(value)) return value
  throw new SidecarError('image_build_failed', { detail: `${path} is damaged; build the image again` })
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function isTemplateFile(value: unknown): value is TemplateFile {
  if (!isObject(value)) return false
  const { digest, boot, config, sizeBytes } = value
  return isDigest(digest) && isDigest(boot) && Number.isSafeInteger(sizeBytes) && isConfig(config)
}

function isConfig(value: unknown): value is ImageConfig {
  if (!isObject(value)) return false
  const { command, environment, workingFolder, user, port, init } = value
  return [
    init === 'own' || init === 'system',
    command === undefined || (Array.isArray(command) && command.every(isString)),
    environment === undefined || (isObject(environment) && Object.values(environment).every(isString)),
    workingFolder === undefined || isString(workingFolder),
    user === undefined || isString(user),
    port === undefined || isPort(port),
  ].every(Boolean)
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isString(value: unknown): value is string {
  return typeof value === 'string'
}

function isDigest(value: unknown): value is string {
  return isString(value) && DIGEST.test(value)
}

function isPort(value: unknown): boolean {
  return Number.isInteger(value) && Number(value) >= 1 && Number(value) <= MAX_PORT
}
