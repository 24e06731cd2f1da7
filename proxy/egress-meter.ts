/** What is counted for each pool of the answers of its VMs: requests, and the bytes that go out to clients. */

/**
 * Whoever keeps the sums; called several times for each request, so it has to be quick.
 *
 * A request counts when the edge begins to pass on its VM's answer, the one to a WebSocket handshake too. What the
 * edge answers itself (refusals, redirects, its own pages, errors because the VM did not answer) costs the pool
 * nothing. Bytes count when they are handed to the client's connection, however long an answer or a tunnel lasts:
 * heads and trailers as HTTP/1.1 text, informational ones too, bodies, and what a tunnel brings to the client. What
 * belongs to the connection does not count (Connection fields, chunks, HTTP/2 frames, TLS), nor does the Date of a VM
 * that sends none, so an answer costs the same over each protocol. Of a client that leaves, one read of the VM and
 * what one connection buffers (64 KiB each) may have been counted without reaching it.
 */
export interface EgressMeter {
  add(pool: string, requests: number, egressBytes: number): void
}

/** `HTTP/1.1 200 ` with its line end, and the empty line. */
const LINE_BYTES = 17

/** A head as HTTP/1.1 writes it. */
export function headBytes(reason: string, fields: readonly string[]): number {
  return LINE_BYTES + reason.length + fieldBytes(fields)
}

/** `fields` are names and values, alternating; they are latin1, so a character is a byte. */
export function fieldBytes(fields: readonly string[]): number {
  let bytes = 0
  // ": " behind a name, a line end behind a value.
  for (const text of fields) bytes += text.length + 2
  return bytes
}
