/** Says how far long work is: one line that is redrawn in a terminal, a line for each step elsewhere. */

import type { Output } from './output.ts'
import { harmless, shortened } from './text-table.ts'

const TICK_MS = 1_000
const CLEAR_LINE = '\r\u001b[K'

export class Progress implements Disposable {
  readonly #output: Output
  readonly #since = performance.now()
  #step = ''
  #timer: NodeJS.Timeout | undefined

  constructor(output: Output) {
    this.#output = output
    if (output.canRedraw) this.#timer = setInterval(() => this.#draw(), TICK_MS)
  }

  /** Does nothing when it is the step that is shown. */
  say(step: string): void {
    if (step === this.#step) return
    this.#step = step
    if (this.#output.canRedraw) this.#draw()
    else this.#output.say(harmless(step))
  }

  /** Takes the line away. */
  [Symbol.dispose](): void {
    clearInterval(this.#timer)
    if (this.#output.canRedraw && this.#step !== '') this.#output.draw(CLEAR_LINE)
    this.#step = ''
  }

  #draw(): void {
    if (this.#step === '') return
    const seconds = Math.floor((performance.now() - this.#since) / 1_000)
    const after = ` ${seconds} s`
    // A line that is too long would wrap, and only its last part could be taken away.
    const step = shortened(harmless(this.#step), this.#output.columns - after.length - 1)
    this.#output.draw(`${CLEAR_LINE}${step}${after}`)
  }
}
