/** Which QEMU this machine has, and whether its KVM runs guests. */

import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { measureTscKhz } from '../guests/tsc-rate.ts'
import { BOOT_ID } from '../hypervisor/run-record.ts'
import { runCommand } from '../run-command.ts'

export const QEMU = 'qemu-system-x86_64'

export interface QemuProgram {
  /** As it says itself, on one line. */
  readonly version: string
  readonly accel: 'kvm' | 'tcg'
  /** Under emulation, how fast the processor counts. */
  readonly tscKhz?: number
}

const PROBE_TIMEOUT_S = 3
/** A kernel without a root file system gives up, and with these the machine ends with it. */
const PROBE_COMMAND_LINE = 'console=ttyS0 panic=-1 reboot=t'
const PROBE_MEMORY = '128M'

export interface ProbeSettings {
  /** Keeps what the probe found, for this boot of the machine. */
  readonly folder: string
  readonly accel: 'auto' | 'kvm' | 'tcg'
  /** What the probe boots. */
  readonly kernelFile: string
}

/** @throws SidecarError command_failed without QEMU */
export async function findQemu(settings: ProbeSettings): Promise<QemuProgram> {
  const [version = ''] = (await runCommand(QEMU, ['--version'])).split('\n')
  const accel = settings.accel === 'auto' ? await findAccel(version, settings) : settings.accel
  if (accel === 'kvm') return { version, accel }
  return { version, accel, tscKhz: await measureTscKhz(settings.folder) }
}

async function findAccel(version: string, { folder, kernelFile }: ProbeSettings): Promise<'kvm' | 'tcg'> {
  return (await hasKvm(folder, { version, kernelFile })) ? 'kvm' : 'tcg'
}

/**
 * A device that exists may still never boot a kernel: where virtualization is itself emulated it runs a few
 * instructions and then spins.
 */
async function hasKvm(
  folder: string,
  { version, kernelFile }: { readonly version: string; readonly kernelFile: string },
): Promise<boolean> {
  const file = join(folder, 'kvm-probe.json')
  const key = `${BOOT_ID} ${version}`
  const known = await readFile(file, 'utf8').then(parseProbe, () => undefined)
  if (known?.key === key) return known.works
  const works = await probe(kernelFile)
  await mkdir(folder, { recursive: true, mode: 0o700 })
  await writeFile(file, JSON.stringify({ key, works }))
  return works
}

function parseProbe(text: string): { readonly key: string; readonly works: boolean } | undefined {
  try {
    const { key, works }: { key?: unknown; works?: unknown } = JSON.parse(text)
    return typeof key === 'string' && typeof works === 'boolean' ? { key, works } : undefined
  } catch {
    return undefined
  }
}

/** Boots the kernel in a child that cannot hold us up, and sees whether it comes to its end. */
function probe(kernelFile: string): Promise<boolean> {
  const args = [
    ...['-M', 'microvm,isa-serial=on,rtc=on', '-accel', 'kvm', '-m', PROBE_MEMORY, '-no-reboot'],
    ...['-nodefaults', '-no-user-config', '-display', 'none'],
    ...['-kernel', kernelFile, '-append', PROBE_COMMAND_LINE],
  ]
  // A QEMU whose processor spins does not heed SIGTERM.
  return runCommand('timeout', ['-s', 'KILL', String(PROBE_TIMEOUT_S), QEMU, ...args]).then(
    () => true,
    () => false,
  )
}
