/** Server-sent events as the WHATWG's specification has them, section 9.2: bytes in, events out. */

export interface ServerEvent {
  /** The last id of the stream up to here. */
  readonly id: string
  readonly event: string
  /** Empty where a new id came without an event: it counts for reading on, and nothing has happened. */
  readonly data: string
}

/** Longer events are no events of the API. */
const MAX_EVENT_CHARACTERS = 16_777_216

/** @throws Error what reading throws; RangeError when an event has no end */
export async function* readEvents(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<ServerEvent> {
  let fields = createFields('')
  let lastId = ''
  for await (const line of readLines(chunks)) {
    if (line !== '') {
      setField(fields, line)
      continue
    }
    const { id, event, data } = fields
    if (data.length > 0 || id !== lastId) yield { id, event, data: data.join('\n') }
    lastId = id
    fields = createFields(id)
  }
}

interface Fields {
  id: string
  event: string
  readonly data: string[]
}

function createFields(id: string): Fields {
  return { id, event: 'message', data: [] }
}

function setField(fields: Fields, line: string): void {
  const [, name = '', value = ''] = /^([^:]*)(?:: ?([\s\S]*))?$/.exec(line) ?? []
  if (name === 'data') fields.data.push(value)
  else if (name === 'event') fields.event = value
  else if (name === 'id' && !value.includes('\0')) fields.id = value
}

/** Lines end with CR LF, LF or CR, also where a chunk ends between the two. */
async function* readLines(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder()
  let rest = ''
  for await (const chunk of chunks) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split(/\r\n|\n|\r(?!$)/)
    rest = lines.pop() ?? ''
    if (rest.length > MAX_EVENT_CHARACTERS) throw new RangeError('a line of the event stream has no end')
    yield* lines
  }
}
