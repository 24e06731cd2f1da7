/** Cuts a child's output into lines of bounded length. */

import type { Readable } from 'node:stream'

/** More of one line than this is dropped: a VM's output must not fill this process's memory. */
export const MAX_LINE_CHARACTERS = 4_096

/** Calls `onLine` for each line that is not empty, without its line break, and for what is left at the end. */
export function readLines(stream: Readable, onLine: (line: string) => void): void {
  let line = ''
  const emit = () => {
    const whole = line.endsWith('\r') ? line.slice(0, -1) : line
    line = ''
    if (whole !== '') onLine(whole)
  }
  const take = (text: string) => {
    line += text.slice(0, MAX_LINE_CHARACTERS - line.length)
  }
  stream.setEncoding('utf8')
  stream.on('data', (text: string) => {
    const [first = '', ...rest] = text.split('\n')
    take(first)
    for (const next of rest) {
      emit()
      take(next)
    }
  })
  stream.on('end', emit)
  // A pipe that breaks ends the output; the exit of its process tells the rest.
  stream.on('error', emit)
}
