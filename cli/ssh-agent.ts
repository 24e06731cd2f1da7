/** Signs with a key that ssh-agent holds (draft-ietf-sshm-ssh-agent): the key itself never leaves the agent. */

import { connect, type Socket } from 'node:net'
import { CliError, Interrupted } from './errors.ts'
import type { KeyType, SshPublicKey } from './ssh-public-key.ts'
import { WireError, WireReader, wireString, wireUint32 } from './ssh-wire.ts'

export interface AgentSettings {
  /** SSH_AUTH_SOCK: the path of its socket. */
  readonly socketPath: string
  readonly signal: AbortSignal
  /** For everything; an agent may ask its owner first. */
  readonly timeoutMs?: number
}

interface Message {
  readonly type: number
  readonly body: Buffer
}

const REQUEST_IDENTITIES = 11
const IDENTITIES_ANSWER = 12
const SIGN_REQUEST = 13
const SIGN_RESPONSE = 14
const LENGTH_BYTES = 4
const ED25519_SIGNATURE_BYTES = 64
/** What OpenSSH's own agent sends at most. */
const MAX_MESSAGE_BYTES = 262_144
const TIMEOUT_MS = 60_000

/**
 * The signature as JWS has it (RFC 7518 section 3.4: both numbers of an ECDSA signature in full width).
 * @throws CliError `cli_agent_failed`; Interrupted
 */
export async function signWithAgent(
  publicKey: SshPublicKey,
  data: Buffer,
  { socketPath, signal, timeoutMs = TIMEOUT_MS }: AgentSettings,
): Promise<Buffer> {
  const limit = AbortSignal.timeout(timeoutMs)
  const socket = connect({ path: socketPath, signal: AbortSignal.any([signal, limit]) })
  try {
    const messages = readMessages(socket)
    socket.write(frame(REQUEST_IDENTITIES))
    checkHolds(publicKey, await next(messages, IDENTITIES_ANSWER))
    socket.write(frame(SIGN_REQUEST, wireString(publicKey.blob), wireString(data), wireUint32(0)))
    return parseAnswer(await next(messages, SIGN_RESPONSE), publicKey.type)
  } catch (error) {
    throw explainFailure(error, { signal, limit })
  } finally {
    socket.destroy()
  }
}

function frame(type: number, ...parts: readonly Buffer[]): Buffer {
  return wireString(Buffer.concat([Buffer.from([type]), ...parts]))
}

/** Each message as it comes. @throws WireError for one that is too long or not whole */
async function* readMessages(socket: Socket): AsyncGenerator<Message, undefined> {
  let bytes: Buffer = Buffer.alloc(0)
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    bytes = Buffer.concat([bytes, chunk])
    for (let end = endOf(bytes); end !== undefined && bytes.length >= end; end = endOf(bytes)) {
      yield { type: bytes[LENGTH_BYTES] ?? 0, body: bytes.subarray(LENGTH_BYTES + 1, end) }
      bytes = bytes.subarray(end)
    }
  }
}

/** Of the first message; undefined until its length is there. */
function endOf(bytes: Buffer): number | undefined {
  if (bytes.length < LENGTH_BYTES) return undefined
  const length = bytes.readUInt32BE()
  if (length === 0 || length > MAX_MESSAGE_BYTES) throw new WireError('its answer has no sound length')
  return LENGTH_BYTES + length
}

async function next(messages: AsyncGenerator<Message, undefined>, wanted: number): Promise<WireReader> {
  const { value } = await messages.next()
  if (value === undefined) throw new WireError('it ended the connection')
  if (value.type !== wanted) throw new WireError('it refused')
  return new WireReader(value.body)
}

/** Asked first, so that a key that is not there is not taken for one whose owner said no. */
function checkHolds({ blob, fingerprint }: SshPublicKey, answer: WireReader): void {
  const held: Buffer[] = []
  for (let left = answer.readUint32(); left > 0; left -= 1) {
    held.push(answer.readString())
    answer.readString()
  }
  if (!held.some((other) => other.equals(blob)))
    throw new WireError(`it does not hold the key ${fingerprint}`)
}

function parseAnswer(answer: WireReader, { name, curve }: KeyType): Buffer {
  const signature = new WireReader(answer.readString())
  answer.checkEnd()
  if (signature.readName() !== name) throw new WireError('its signature is of another type')
  const text = signature.readString()
  signature.checkEnd()
  if (curve !== undefined) return toFixedWidth(text, curve.bytes)
  if (text.length !== ED25519_SIGNATURE_BYTES) throw new WireError('its signature is not whole')
  return text
}

/** RFC 5656 section 3.1.2 writes two numbers of any length. */
function toFixedWidth(text: Buffer, bytes: number): Buffer {
  const numbers = new WireReader(text)
  const both = Buffer.concat([numbers.readPositive(bytes), numbers.readPositive(bytes)])
  numbers.checkEnd()
  return both
}

function explainFailure(
  error: unknown,
  { signal, limit }: { signal: AbortSignal; limit: AbortSignal },
): Error {
  if (signal.aborted) return new Interrupted()
  const why = limit.aborted ? 'it is silent' : (error as Error).message
  return new CliError('cli_agent_failed', { cause: error, detail: `ssh-agent: ${why}.` })
}
