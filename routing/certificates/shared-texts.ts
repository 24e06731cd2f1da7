/** Texts that many certificates have alike (intermediates above all), each held once for as long as any has it. */

interface Shared {
  readonly text: string
  holders: number
}

export class SharedTexts {
  readonly #numbers = new Map<string, number>()
  /** By number, from 1. */
  readonly #shared: (Shared | undefined)[] = [undefined]
  readonly #free: number[] = []

  get size(): number {
    return this.#numbers.size
  }

  /** Its number, held once more; 0 for none. */
  hold(text: string | undefined): number {
    if (text === undefined) return 0
    const known = this.#numbers.get(text)
    const number = known ?? this.#free.pop() ?? this.#shared.length
    const shared = (known && this.#shared[known]) || { text, holders: 0 }
    shared.holders += 1
    this.#numbers.set(shared.text, number)
    this.#shared[number] = shared
    return number
  }

  find(number: number): string | undefined {
    return this.#shared[number]?.text
  }

  release(number: number): void {
    const shared = this.#shared[number]
    if (shared === undefined) return
    shared.holders -= 1
    if (shared.holders > 0) return
    this.#numbers.delete(shared.text)
    this.#shared[number] = undefined
    this.#free.push(number)
  }
}
