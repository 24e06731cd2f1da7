import { mkdtempSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { once } from 'node:events'
import { edgeFor } from '../test/helpers/edge.ts'
const downs: (() => unknown)[] = []
export const t: any = { testdir: () => mkdtempSync('/tmp/rev-'), teardown: (f: any) => downs.push(f) }
export const done = async () => { for (const f of downs.reverse()) await f(); process.exit(0) }
export const edge = (env = {}) => edgeFor(t, env)
export async function vm(on: (s: Socket, text: string, n: number) => void) {
  let n = 0
  const server = createServer({ allowHalfOpen: true }, (s) => { const k = n++; s.on('error', () => {}); s.on('data', (c) => on(s, c.toString('latin1'), k)) })
  server.listen(0, '127.0.0.1'); await once(server, 'listening')
  return (server.address() as any).port as number
}
export const sleep = (ms: number) => new Promise((r) => setTimeout(r, ms))
process.on('uncaughtException', (e) => { console.log('UNCAUGHT', e); process.exit(3) })
process.on('unhandledRejection', (e) => { console.log('UNHANDLED', e); process.exit(3) })
process.on('warning', (w) => console.log('WARNING', w.name, w.message))
