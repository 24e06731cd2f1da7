/** Certificates as people read them: what there is, and each thing that has to be right, with what to do about it. */

import type { Json } from './api.ts'
import type { CommandContext } from './command.ts'
import { harmless, layOut } from './text-table.ts'
import { type Column, listOf, plain, textOf } from './views.ts'

const COLUMNS: readonly Column[] = [
  plain('KEY', 'keyType'),
  plain('SOURCE'),
  plain('ISSUER'),
  plain('ENDS', 'notAfter'),
  plain('RENEWED', 'renewAt'),
  plain('FINGERPRINT'),
]

/** The steps that are wrong, by their names. */
export function wrongSteps(check: Json): readonly string[] {
  const wrong = listOf(check, 'steps').filter((step) => textOf(step, 'state') === 'wrong')
  return [...new Set(wrong.map((step) => textOf(step, 'step')))]
}

/** A line for each step, and one more for what to do where it is not right. Nothing is cut. */
export async function printSteps({ output }: CommandContext, check: Json): Promise<void> {
  const steps = listOf(check, 'steps')
  const rows = steps.map((step) => [textOf(step, 'state'), textOf(step, 'step'), textOf(step, 'detail')])
  const [titles = [], ...rest] = rows.map((row) => row.map(harmless))
  const lines = layOut({ titles, rows: rest }, { hasColours: false })
  const indent = ' '.repeat(Math.max(0, (lines[0] ?? '').indexOf(titles[2] ?? '')))
  const text = steps.flatMap((step, at) => {
    const next = textOf(step, 'next')
    const isAdvised = next !== '' && textOf(step, 'state') !== 'right'
    return [lines[at] ?? '', ...(isAdvised ? [`${indent}next: ${harmless(next)}`] : [])]
  })
  if (text.length > 0) await output.print(text.join('\n'))
}

export async function printCertificates({ output }: CommandContext, check: Json): Promise<void> {
  const certificates = listOf(check, 'certificates')
  if (certificates.length === 0) return
  const rows = certificates.map((view) => COLUMNS.map(({ of }) => of(view)))
  await output.printTable({ titles: COLUMNS.map(({ title }) => title), rows })
}
