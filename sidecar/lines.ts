/** Cuts a child's output into lines of bounded length, and reads no faster than this process can bear. */

import type { Readable } from 'node:stream'

/** More of one line than this is dropped: a VM's output must not fill this process's memory. */
export const MAX_LINE_CHARACTERS = 4_096

/** Whoever writes more than this for long is made to wait: the pipe fills, and the write blocks. */
const CHARACTERS_PER_SECOND = 262_144
const BURST_CHARACTERS = 1_048_576
/** A line is logged or parsed, which costs about as much as reading this many characters. */
const LINE_COST = 256

export interface LineSettings {
  /** Default `MAX_LINE_CHARACTERS`. */
  readonly maxCharacters?: number
}

/** Calls `onLine` for each line that is not empty, without its line break, and for what is left at the end. */
export function readLines(
  stream: Readable,
  onLine: (line: string) => void,
  { maxCharacters = MAX_LINE_CHARACTERS }: LineSettings = {},
): void {
  let line = ''
  const emit = () => {
    const whole = line.endsWith('\r') ? line.slice(0, -1) : line
    line = ''
    if (whole !== '') onLine(whole)
  }
  const take = (text: string) => {
    line += text.slice(0, maxCharacters - line.length)
  }
  stream.setEncoding('utf8')
  const pace = paceOf(stream)
  stream.on('data', (text: string) => {
    const [first = '', ...rest] = text.split('\n')
    pace(text.length, rest.length)
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

/** The function it answers is told what was read, and pauses the stream when that is too much. */
export function paceOf(stream: Readable): (characters: number, lines: number) => void {
  let owed = 0
  let countedAt = performance.now()
  let timer: NodeJS.Timeout | undefined
  stream.once('close', () => clearTimeout(timer))
  return (characters, lines) => {
    const cost = characters + lines * LINE_COST
    const now = performance.now()
    owed = Math.max(0, owed - ((now - countedAt) / 1_000) * CHARACTERS_PER_SECOND) + cost
    countedAt = now
    if (owed <= BURST_CHARACTERS) return
    stream.pause()
    // Node reads on at the exit of a child, pause or not.
    clearTimeout(timer)
    timer = setTimeout(() => stream.resume(), ((owed - BURST_CHARACTERS) / CHARACTERS_PER_SECOND) * 1_000)
  }
}
