/** What an OCI image says of how it is to be run, read as what it is: a text by somebody unknown. */

import { SidecarError } from '../errors.ts'
import type { ImageConfig } from './template.ts'

/** Without one, programs of the image are looked for in these. */
const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
/** The kernel takes 131,072 bytes for one argument; all of them, and the script that holds them, stay well below. */
const MAX_TEXT_BYTES = 65_536
const MAX_ITEMS = 1_000
const MAX_PORT = 65_535
const HTTP_PORT = 80
const FIRST_FREE_PORT = 1_024
/** Commands that boot a system rather than run a program. */
const SYSTEM_INITS = ['/sbin/init', '/usr/sbin/init', '/lib/systemd/systemd', '/usr/lib/systemd/systemd']

/** @throws SidecarError image_build_failed when it is not of the form that the OCI image specification gives it */
export function parseOciConfig(text: string): ImageConfig {
  const image = toObject(parseJson(text), 'configuration')
  checkPlatform(image)
  const config = toObject(image.config ?? {}, 'config')
  const command = [...toTexts(config.Entrypoint, 'Entrypoint'), ...toTexts(config.Cmd, 'Cmd')]
  const user = toText(config.User, 'User')
  const port = findDefaultPort(toObject(config.ExposedPorts ?? {}, 'ExposedPorts'))
  const [program = ''] = command
  return {
    ...(command.length > 0 && { command }),
    environment: toEnvironment(toTexts(config.Env, 'Env')),
    workingFolder: `/${toText(config.WorkingDir, 'WorkingDir').replace(/^\/+/, '')}`,
    ...(user !== '' && { user }),
    ...(port !== undefined && { port }),
    init: command.length === 1 && SYSTEM_INITS.includes(program) ? 'system' : 'own',
  }
}

/** The guests' kernel is for x86-64. */
function checkPlatform({ os, architecture }: Readonly<Record<string, unknown>>): void {
  if (os === 'linux' && architecture === 'amd64') return
  refuse(`it is for ${JSON.stringify(os)} on ${JSON.stringify(architecture)}, not for "linux" on "amd64"`)
}

/** 80 where it is exposed; else the smallest from 1,024 up, where programs listen that are not root; else the smallest. */
function findDefaultPort(exposed: Readonly<Record<string, unknown>>): number | undefined {
  const ports = Object.keys(exposed)
    .slice(0, MAX_ITEMS)
    .map(findTcpPort)
    .filter((port) => port !== undefined)
    .sort((a, b) => a - b)
  if (ports.includes(HTTP_PORT)) return HTTP_PORT
  return ports.find((port) => port >= FIRST_FREE_PORT) ?? ports[0]
}

/** Of `8080`, `8080/tcp`, `8000-8010/tcp`: the first. */
function findTcpPort(text: string): number | undefined {
  const port = Number(/^(\d{1,5})(?:-\d{1,5})?(?:\/tcp)?$/.exec(text)?.[1])
  return port >= 1 && port <= MAX_PORT ? port : undefined
}

/** Of two with one name the last counts, as for Docker. */
function toEnvironment(lines: readonly string[]): Readonly<Record<string, string>> {
  const entries = lines
    .map((line) => ({ line, at: line.indexOf('=') }))
    .filter(({ at }) => at > 0)
    .map(({ line, at }) => [line.slice(0, at), line.slice(at + 1)] as const)
  return Object.fromEntries([['PATH', DEFAULT_PATH], ...entries])
}

function toTexts(value: unknown, what: string): readonly string[] {
  if (value === undefined || value === null) return []
  if (!Array.isArray(value) || value.length > MAX_ITEMS) return refuse(`${what} is no list of texts`)
  const texts = value.map((item: unknown) => toText(item ?? 0, what))
  if (Buffer.byteLength(texts.join('')) > MAX_TEXT_BYTES)
    refuse(`${what} is longer than ${MAX_TEXT_BYTES} bytes`)
  return texts
}

function toText(value: unknown, what: string): string {
  if (value === undefined || value === null) return ''
  if (typeof value !== 'string') return refuse(`${what} is no text`)
  if (value.includes('\0')) refuse(`${what} has a NUL character`)
  if (Buffer.byteLength(value) > MAX_TEXT_BYTES) refuse(`${what} is longer than ${MAX_TEXT_BYTES} bytes`)
  return value
}

function toObject(value: unknown, what: string): Readonly<Record<string, unknown>> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value))
    return value as Record<string, unknown>
  return refuse(`${what} is no object`)
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function refuse(why: string): never {
  throw new SidecarError('image_build_failed', { detail: `the image's configuration cannot be used: ${why}` })
}
