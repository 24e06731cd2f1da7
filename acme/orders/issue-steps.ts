/** States `ready` to `finalized`: the certificate is asked for, fetched and looked at. */

import { toMoment } from '../../lib/moment.ts'
import type { CaOrder } from '../ca/ca.ts'
import { generateKey, toPrivateKey } from '../keys.ts'
import type { CertificateRow, OrderRow } from '../rows.ts'
import { toRecordKey } from '../rows.ts'
import { readIssuedChain } from './issued-chain.ts'
import { askForKnown, lookUntil } from './order-patience.ts'
import { next, restart, type Step, type StepRun } from './order-step.ts'
import { toEndedTrouble } from './order-trouble.ts'
import { toLate } from './proof-steps.ts'
import { createRenewal } from './renewal-moment.ts'
import { createSigningRequest } from './signing-request.ts'
import { findNeedless } from './wanted-step.ts'

/** `ready`: makes key and request, which are saved before the CA hears of them. The proofs are not needed any more. */
export const stepReady: Step = async (row, { deps }) => {
  const { authorizations: _proven, ...rest } = row
  if (row.csr !== undefined) return next({ ...rest, state: 'keyed' })
  const key = await generateKey(row.keyType)
  const csr = await createSigningRequest(row.names, key)
  const sealedKey = deps.sealer.seal(key.export({ type: 'pkcs8', format: 'der' }), toRecordKey('order', row))
  return next({ ...rest, state: 'keyed', sealedKey, csr: csr.toString('base64url') })
}

/** `keyed`: sends the request, unless an edge before this one has done so and did not live to say it. */
export const stepKeyed: Step = async (row, run) => {
  const order = await waitForOrder(row, run, (status) => status !== 'pending')
  if (order === undefined || order.status === 'invalid') return endedOrder(row, run, order)
  if (order.status === 'ready') {
    await run.ca.finalize(order, Buffer.from(row.csr ?? '', 'base64url'), run.signal)
  }
  return next({ ...row, state: 'finalized' })
}

/** `finalized`: waits for the certificate, and hands it back with its renewal. */
export const stepFinalized: Step = async (row, run) => {
  const order = await waitForOrder(row, run, (status) => status === 'valid' || status === 'invalid')
  if (order?.status !== 'valid') return endedOrder(row, run, order)
  const chain = await askForKnown(run, () => run.ca.download(order, run.signal))
  if (chain === undefined) return restart(row, run)
  const why = await findNeedless(row, run)
  if (why !== undefined) return { kind: 'dropped', why }
  const certificate = toCertificate(row, chain, run)
  const { now, random } = run.settings
  return {
    kind: 'issued',
    certificate,
    renewal: createRenewal(certificate, { nowMs: now(), random: random() }),
  }
}

function waitForOrder(
  row: OrderRow,
  run: StepRun,
  isEnough: (status: CaOrder['status']) => boolean,
): Promise<CaOrder | undefined> {
  return lookUntil(run, () => askForKnown(run, () => run.ca.getOrder(row.url ?? '', run.signal)), {
    timeLimitMs: run.settings.answerMs,
    isEnough: (order) => order === undefined || isEnough(order.status),
    restMs: (order) => order?.retryAfterMs,
    late: () => toLate('issued', run),
  })
}

/** An order that ended without a reason has expired (RFC 8555 section 7.1.6). @throws OrderTrouble */
function endedOrder(row: OrderRow, run: StepRun, order: CaOrder | undefined) {
  if (order?.problem !== undefined) throw toEndedTrouble(order.problem, row.name)
  return restart(row, run)
}

function toCertificate(
  row: OrderRow,
  chain: readonly Buffer[],
  { ca, deps, settings }: StepRun,
): CertificateRow {
  const der = deps.sealer.open(row.sealedKey, toRecordKey('order', row))
  const nowMs = settings.now()
  const issued = readIssuedChain(chain, { names: row.names, key: toPrivateKey(der), nowMs })
  return {
    name: row.name,
    keyType: row.keyType,
    names: row.names,
    source: 'acme',
    chain: issued.chain,
    sealedKey: deps.sealer.seal(der, toRecordKey('certificate', row)),
    notBefore: issued.notBefore.toISOString(),
    notAfter: issued.notAfter.toISOString(),
    createdAt: toMoment(nowMs),
    ca: ca.directory,
    ...(row.profile !== undefined && { profile: row.profile }),
  }
}
