/** What a guest's agent says, line by line. The guest may say anything. */

/** One whole message has at most this many characters. */
export const MAX_AGENT_CHARACTERS = 8_192
export const MAX_PORTS = 1_000

export type AgentWord =
  | { readonly kind: 'hello' }
  | { readonly kind: 'ports'; readonly ports: readonly number[] }
  | { readonly kind: 'net'; readonly connections: number; readonly accepted: number }
  | { readonly kind: 'done'; readonly id: string }
  | { readonly kind: 'failed'; readonly id: string; readonly text: string }

const MAX_PORT = 65_535
const COUNT = /^\d{1,15}$/
const PORT = /^[1-9]\d{0,4}$/
const FAILED = /^failed (\S+) ?(.*)$/

/** Undefined for what is none of its words. */
export function parseAgentWord(line: string): AgentWord | undefined {
  // A line that reached the limit was cut.
  if (line.length >= MAX_AGENT_CHARACTERS) return undefined
  const [word, ...rest] = line.split(' ')
  switch (word) {
    case 'hello':
      return rest[0] === '1' ? { kind: 'hello' } : undefined
    case 'ports':
      return parsePorts(rest)
    case 'net':
      return parseNet(rest)
    case 'done':
      return rest[0] === undefined ? undefined : { kind: 'done', id: rest[0] }
    case 'failed':
      return parseFailed(line)
    default:
      return undefined
  }
}

/** Sorted, each once. */
function parsePorts(words: readonly string[]): AgentWord | undefined {
  const texts = words.filter(Boolean)
  if (!texts.every((text) => PORT.test(text) && Number(text) <= MAX_PORT)) return undefined
  const ports = [...new Set(texts.map(Number))].toSorted((one, other) => one - other)
  return { kind: 'ports', ports: ports.slice(0, MAX_PORTS) }
}

function parseNet([connections = '', accepted = '']: readonly string[]): AgentWord | undefined {
  if (!COUNT.test(connections) || !COUNT.test(accepted)) return undefined
  return { kind: 'net', connections: Number(connections), accepted: Number(accepted) }
}

function parseFailed(line: string): AgentWord | undefined {
  const [, id, text = ''] = FAILED.exec(line) ?? []
  return id === undefined ? undefined : { kind: 'failed', id, text }
}
