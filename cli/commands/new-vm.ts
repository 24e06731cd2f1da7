/** `landfall vm new`: one call that returns when the VM's URL answers. */

import { type Json, path } from '../api.ts'
import type { CommandContext } from '../command.ts'
import { listOf, textOf } from '../views.ts'
import { waitForUrl } from './url-wait.ts'
import { changeVm, createVm, type VmSource } from './vm-puts.ts'

export interface NewVm {
  /** The API makes one when it is absent. */
  readonly name: string | undefined
  readonly pool?: string | undefined
  readonly image?: string | undefined
  readonly port?: number | undefined
  readonly public?: true | undefined
  readonly comment?: string | undefined
  /** More members of the body. */
  readonly shape?: object
  readonly source?: VmSource
  readonly timeoutMs: number
}

export async function newVm(context: CommandContext, wanted: NewVm): Promise<void> {
  const deadline = performance.now() + wanted.timeoutMs
  const body = toBody(wanted)
  const view =
    wanted.name === undefined
      ? await createNamed(context, { body, timeoutMs: wanted.timeoutMs })
      : await createVm(context, { name: wanted.name, body, timeoutMs: wanted.timeoutMs })
  const [name, url] = [textOf(view, 'name'), textOf(view, 'url')]
  if (wanted.public && wanted.port === undefined) await publish(context, name)
  await waitForUrl(context, { url, name, timeoutMs: deadline - performance.now() })
  return context.isJson ? context.output.printJson(view) : context.output.print(url)
}

function toBody({ pool, image, port, public: isPublic, comment, shape, source }: NewVm) {
  return {
    ...shape,
    ...(source && { source }),
    ...(pool !== undefined && { pool }),
    ...(image !== undefined && { image }),
    ...(port !== undefined && { port }),
    ...(port !== undefined && isPublic && { ports: { [port]: { visibility: 'public' } } }),
    ...(comment !== undefined && { comment }),
  }
}

/** The API chooses the name, and the VM is waited for under it. */
async function createNamed(
  context: CommandContext,
  { body, timeoutMs }: { readonly body: object; readonly timeoutMs: number },
): Promise<Json> {
  const view = await context.api.call({ method: 'POST', path: '/v1/vms', body })
  return changeVm(context, { name: textOf(view, 'name'), body: {}, timeoutMs })
}

/** Opens the port that the bare name leads to, known once the VM runs, and lets it stay so while nothing listens there. */
async function publish({ api }: CommandContext, name: string): Promise<void> {
  const ports = listOf(await api.list(path`/v1/vms/${name}/ports`), 'ports')
  const port = ports.find(({ isDefault }) => isDefault === true)?.port
  const address = path`/v1/vms/${name}/ports/${Number(port)}`
  await api.call({ method: 'PUT', path: address, body: { visibility: 'public', isDefault: true } })
}
