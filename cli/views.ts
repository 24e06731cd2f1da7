/** How views of the API are shown to people: cells of tables, lines of one record. */

import type { Json } from './api.ts'
import { formatCpus, formatDuration, formatSize } from './units.ts'

export interface Column {
  readonly title: string
  readonly of: (view: Json) => string
}

/** A member's text, empty when it is absent; `path` leads through objects with dots. */
export function textOf(view: Json, path: string): string {
  const value = path.split('.').reduce<unknown>((found, name) => (found as Json | undefined)?.[name], view)
  if (value === undefined || value === null) return ''
  return typeof value === 'object' ? JSON.stringify(value) : String(value)
}

export function listOf(view: Json, name: string): readonly Json[] {
  const value = view[name]
  return Array.isArray(value) ? value : []
}

/** A column that shows a member as it is. */
export function plain(title: string, path = title.toLowerCase()): Column {
  return { title, of: (view) => textOf(view, path) }
}

/** A column that shows a list; `none` stands for one that is not there. */
export function joined(title: string, path: string, none: string): Column {
  return { title, of: (view) => (Array.isArray(view[path]) ? listOf(view, path).join(',') : none) }
}

export function size(title: string, path: string): Column {
  return { title, of: (view) => formatted(view, path, formatSize) }
}

export function cpus(title: string, path: string): Column {
  return { title, of: (view) => formatted(view, path, formatCpus) }
}

/** How long ago a moment was, or how long it is still to come. */
export function age(title: string, path: string, now: Date): Column {
  return {
    title,
    of: (view) => {
      const time = Date.parse(textOf(view, path))
      return Number.isNaN(time) ? '' : formatDuration(Math.abs(now.getTime() - time))
    },
  }
}

/** When it ends; of what ended before `now` that it did. */
export function end(now: Date): Column {
  return {
    title: 'EXPIRES',
    of: (view) => {
      const text = textOf(view, 'expiresAt')
      return Date.parse(text) <= now.getTime() ? `ended ${text}` : text
    },
  }
}

function formatted(view: Json, path: string, format: (amount: number) => string): string {
  const text = textOf(view, path)
  return text === '' ? '' : format(Number(text))
}

/** `web:read,write; *:read`. */
export function formatScopes(view: Json): string {
  return listOf(view, 'scopes')
    .map((scope) => `${textOf(scope, 'pool')}:${(scope.verbs as unknown[]).join(',')}`)
    .join('; ')
}

/** `email:ann@example.org`. */
export function formatGrantee(view: Json): string {
  return `${textOf(view, 'to.kind')}:${textOf(view, 'to.value')}`
}
