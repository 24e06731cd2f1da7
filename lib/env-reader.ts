/** Reads settings from an environment and reports every problem at once. */

export type Environment = Readonly<Record<string, string | undefined>>

export interface Bounds {
  readonly min?: number
  readonly max?: number
}

/** Thrown by `finish`; `problems` holds one sentence per setting at fault. */
export class SettingsError extends Error {
  readonly problems: readonly string[]

  constructor(problems: readonly string[]) {
    super(`settings are wrong:\n${problems.map((problem) => `  ${problem}`).join('\n')}`)
    this.name = 'SettingsError'
    this.problems = problems
  }
}

export class EnvReader {
  readonly #env: Environment
  readonly #seen = new Set<string>()
  readonly #problems: string[] = []

  constructor(env: Environment) {
    this.#env = env
  }

  text(name: string, fallback: string): string {
    return this.#raw(name) ?? fallback
  }

  int(name: string, fallback: number, { min = 0, max = Number.MAX_SAFE_INTEGER }: Bounds = {}): number {
    const raw = this.#raw(name)
    if (raw === undefined) return fallback
    const value = /^\d{1,15}$/.test(raw) ? Number(raw) : Number.NaN
    if (value >= min && value <= max) return value
    this.#problems.push(`${name} must be a whole number from ${min} to ${max} (got "${raw}")`)
    return fallback
  }

  choice<Choice extends string>(name: string, fallback: Choice, choices: readonly Choice[]): Choice {
    const raw = this.#raw(name)
    if (raw === undefined) return fallback
    const found = choices.find((choice) => choice === raw)
    if (found === undefined)
      this.#problems.push(`${name} must be one of ${choices.join(', ')} (got "${raw}")`)
    return found ?? fallback
  }

  /** Comma-separated; `isValid` is asked of each item. */
  list(name: string, what: string, isValid: (item: string) => boolean): readonly string[] {
    const items = (this.#raw(name) ?? '').split(',').map((item) => item.trim())
    const given = items.filter((item) => item !== '')
    for (const item of given) {
      if (!isValid(item)) this.#problems.push(`${name} must be a list of ${what} (got "${item}")`)
    }
    return given
  }

  /** A text for which `isValid` holds. */
  checked(name: string, fallback: string, what: string, isValid: (text: string) => boolean): string {
    const value = this.text(name, fallback)
    if (!isValid(value)) this.#problems.push(`${name} must be ${what} (got "${value}")`)
    return value
  }

  /** @throws SettingsError with every problem, names under `prefix` that nothing read included */
  finish(prefix: string): void {
    for (const name of Object.keys(this.#env)) {
      if (name.startsWith(prefix) && !this.#seen.has(name)) {
        this.#problems.push(`${name} is not a setting; README.md lists them all`)
      }
    }
    if (this.#problems.length > 0) throw new SettingsError(this.#problems)
  }

  #raw(name: string): string | undefined {
    this.#seen.add(name)
    const raw = this.#env[name]?.trim()
    return raw === '' ? undefined : raw
  }
}
