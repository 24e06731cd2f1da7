/** What every part may ask of a logger; pino fits it, and so does a test's list. */

type Write = (fields: Record<string, unknown>, message: string) => void

export interface Log {
  readonly debug: Write
  readonly info: Write
  readonly warn: Write
  readonly error: Write
}
