/** `landfall domain certificate`: the certificate of a host name, shown, uploaded, removed or ordered anew. */

import { printDeleted, printWritten } from '../answers.ts'
import { type Json, path } from '../api.ts'
import { type CertificateFiles, readCertificateFiles } from '../certificate-files.ts'
import { printCertificates, printSteps } from '../certificate-steps.ts'
import { type Command, type CommandContext, command } from '../command.ts'
import { refuseUsage } from '../errors.ts'
import { CERTIFICATE_ACTION, DOMAIN, FILE } from '../kinds.ts'
import { listOf, textOf } from '../views.ts'

export const CERTIFICATE_COMMANDS: readonly Command[] = [
  command('domain certificate', {
    summary: 'Shows, uploads, removes or renews the certificate of a host name',
    details:
      'upload takes --cert and --key, or --pkcs12; the files are read here, and checked by the API. What is uploaded is\n' +
      'served instead of an ordered certificate and renewed by nobody; remove takes it away again. renew orders a new one\n' +
      'at once. A passphrase is read from --passphrase-file, or from LANDFALL_PKCS12_PASSPHRASE.',
    arguments: {
      action: { kind: CERTIFICATE_ACTION, summary: 'What to do' },
      hostname: { kind: DOMAIN, summary: "A host name of yours; for operators, the platform's domain" },
    },
    options: {
      cert: { kind: FILE, summary: 'The chain in PEM, the leaf first' },
      key: { kind: FILE, summary: 'Its private key in PEM, without a passphrase' },
      pkcs12: { kind: FILE, summary: 'Both as a PKCS#12 file' },
      'passphrase-file': {
        kind: FILE,
        summary: 'Its first line opens the PKCS#12 file; - is standard input',
      },
    },
    examples: [
      'landfall domain certificate show www.example.org',
      'landfall domain certificate upload www.example.org --cert chain.pem --key key.pem',
      'landfall domain certificate upload www.example.org --pkcs12 www.p12 --passphrase-file pass.txt',
    ],
    run: (context, { args: { action, hostname }, options }) => {
      const { cert, key, pkcs12, 'passphrase-file': passphraseFile } = options
      const files = { cert, key, pkcs12, passphraseFile }
      if (action === 'upload') return upload(context, hostname, files)
      if (Object.values(files).some((file) => file !== undefined))
        refuseUsage('Files are for "upload" alone.')
      if (action === 'remove') return remove(context, hostname)
      return action === 'renew' ? renew(context, hostname) : show(context, hostname)
    },
  }),
]

async function show(context: CommandContext, hostname: string): Promise<void> {
  const view = await context.api.call({ method: 'GET', path: addressOf(hostname) })
  if (context.isJson) return context.output.printJson(view)
  await printCertificates(context, view)
  await printSteps(context, view)
}

async function upload(context: CommandContext, hostname: string, files: CertificateFiles): Promise<void> {
  const body = await readCertificateFiles(context, files)
  const view = await context.api.call({ method: 'PUT', path: addressOf(hostname), body })
  const [certificate = {}] = listOf(view, 'certificates')
  const said = `uploaded for ${hostname}: ${textOf(certificate, 'keyType')}, ends at ${textOf(certificate, 'notAfter')}`
  return printWritten(context, { view, name: hostname, said })
}

async function remove(context: CommandContext, hostname: string): Promise<void> {
  await context.api.call({ method: 'DELETE', path: addressOf(hostname) })
  return printDeleted(context, [hostname])
}

async function renew(context: CommandContext, hostname: string): Promise<void> {
  const view: Json = await context.api.call({ method: 'POST', path: `${addressOf(hostname)}/renew` })
  const said = `ordering a new certificate for ${hostname}; "landfall domain check ${hostname}" says how it goes`
  return printWritten(context, { view, name: hostname, said })
}

function addressOf(hostname: string): string {
  return path`/v1/certificates/${hostname}`
}
