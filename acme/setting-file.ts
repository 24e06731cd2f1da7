/** Small files that an operator writes and names in a setting. */

import { open } from 'node:fs/promises'
import { codeOf } from '../lib/node-error.ts'
import { AcmeError } from './errors.ts'

/** @throws AcmeError `certificate_setting` when it cannot be read, or is longer than `maxBytes` */
export async function readSettingFile(path: string, maxBytes: number): Promise<string> {
  const bytes = await readStart(path, maxBytes + 1).catch((cause: unknown) => {
    throw new AcmeError('certificate_setting', { cause, detail: `${path} cannot be read: ${codeOf(cause)}` })
  })
  if (bytes.length <= maxBytes) return bytes.toString('utf8')
  throw new AcmeError('certificate_setting', { detail: `${path} is longer than ${maxBytes} bytes` })
}

async function readStart(path: string, length: number): Promise<Buffer> {
  await using file = await open(path)
  const { buffer, bytesRead } = await file.read(Buffer.alloc(length))
  return buffer.subarray(0, bytesRead)
}
