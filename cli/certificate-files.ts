/** The files that a certificate is uploaded from: PEM, or PKCS#12 with a passphrase that no command line shows. */

import { readFile } from 'node:fs/promises'
import { addAbortSignal } from 'node:stream'
import { text } from 'node:stream/consumers'
import type { CommandContext } from './command.ts'
import { readText } from './connection.ts'
import { CliError, refuseUsage } from './errors.ts'

export interface CertificateFiles {
  readonly cert: string | undefined
  readonly key: string | undefined
  readonly pkcs12: string | undefined
  readonly passphraseFile: string | undefined
}

const NEXT = 'landfall domain certificate upload HOSTNAME --cert FILE --key FILE, or --pkcs12 FILE'
/** The API takes no more. */
const MAX_BYTES = 65_536

/** The body of the upload. @throws CliError `cli_usage`, `cli_file_unusable` */
export async function readCertificateFiles(
  context: CommandContext,
  { cert, key, pkcs12, passphraseFile }: CertificateFiles,
): Promise<object> {
  if (pkcs12 !== undefined) {
    if (cert !== undefined || key !== undefined) refuseUsage('--pkcs12 goes without --cert and --key.', NEXT)
    const file = await readBytes(pkcs12)
    return { pkcs12: file.toString('base64'), passphrase: await readPassphrase(context, passphraseFile) }
  }
  if (cert === undefined || key === undefined) return refuseUsage('Both --cert and --key are needed.', NEXT)
  if (passphraseFile !== undefined) refuseUsage('--passphrase-file is for --pkcs12 alone.', NEXT)
  return { certificate: await readText(cert), key: await readText(key) }
}

async function readBytes(file: string): Promise<Buffer> {
  const bytes = await readFile(file).catch((cause: NodeJS.ErrnoException) => {
    const why = cause.code === 'ENOENT' ? 'There is no such file' : cause.message
    throw new CliError('cli_file_unusable', { cause, detail: `${file}: ${why}.` })
  })
  if (bytes.length <= MAX_BYTES) return bytes
  throw new CliError('cli_file_unusable', { detail: `${file} is too long for a PKCS#12 file.` })
}

/** The first line of the file, else LANDFALL_PKCS12_PASSPHRASE, else none. */
async function readPassphrase(
  { stdin, signal, env }: CommandContext,
  file: string | undefined,
): Promise<string> {
  if (file === undefined) return env.LANDFALL_PKCS12_PASSPHRASE ?? ''
  const content = file === '-' ? await text(addAbortSignal(signal, stdin)) : await readText(file)
  return content.split(/\r?\n/, 1)[0] ?? ''
}
