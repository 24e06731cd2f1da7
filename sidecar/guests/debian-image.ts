/** Makes an image of Debian with systemd, set up to leave the network and SSH to our init. */

import { mkdir, rm, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import type { Environment } from '../../lib/env-reader.ts'
import { SidecarError } from '../errors.ts'
import { checkPrograms, isRoot, runBuildStep } from './build-programs.ts'
import { writeInside } from './image-tree.ts'
import type { Template } from './template.ts'
import type { TemplateStore } from './template-store.ts'

const SUITE = 'bookworm'
const BUILD_TIMEOUT_MS = 1_800_000
/**
 * Beside what a system needs to boot: what a user expects to find. No OpenSSH server, since our own one listens; its
 * part for copying files it runs from here. No DHCP client and no ifupdown: addresses come from our init.
 */
const PACKAGES = [
  ...['systemd-sysv', 'dbus', 'openssh-sftp-server', 'ca-certificates', 'curl', 'iproute2', 'iputils-ping'],
  ...['less', 'nano', 'procps', 'rsync', 'sudo', 'xz-utils'],
]
/** Left out of a server: they fill the disk of every VM's template. */
const LEFT_OUT = ['/usr/share/doc/*', '/usr/share/man/*', '/usr/share/info/*', '/usr/share/locale/*']
const KEPT = ['/usr/share/doc/*/copyright', '/usr/share/locale/locale.alias']
/**
 * What would set up the network against us, wait for it, or keep a login on a console that nobody can reach; and what
 * would wake every VM of a host at about the same hour. A user may unmask each.
 */
const MASKED = [
  ...['systemd-networkd.service', 'systemd-networkd.socket', 'systemd-networkd-wait-online.service'],
  ...[
    'systemd-resolved.service',
    'serial-getty@ttyS0.service',
    'getty@tty1.service',
    'console-getty.service',
  ],
  ...['apt-daily.timer', 'apt-daily-upgrade.timer', 'e2scrub_all.timer', 'e2scrub_reap.service'],
]
const WITHOUT_ROOT =
  'Without root it takes the package uidmap and a range of ids for you in /etc/subuid and /etc/subgid (usermod --add-subuids 200000-265535 --add-subgids 200000-265535 NAME).'
const PROXIES = ['http_proxy', 'https_proxy', 'no_proxy']

export interface DebianBuild {
  readonly name: string
  /** The name of the folder with the boot files. */
  readonly boot: string
  readonly sizeBytes?: number
  /** More packages. */
  readonly packages?: readonly string[]
  /** The process's environment: its proxies are used. */
  readonly env: Environment
  /** Told of each step as it begins. */
  readonly say: (line: string) => void
}

/** Takes half a minute and 400 MB below the data folder meanwhile. @throws SidecarError image_build_failed */
export async function buildDebianImage(store: TemplateStore, build: DebianBuild): Promise<Template> {
  const { name, boot, sizeBytes, say } = build
  await checkPrograms(['mmdebstrap', 'tar', ...(isRoot() ? [] : (['fakeroot'] as const))])
  const builtSince = new Date()
  const work = await store.makeWorkFolder()
  const tree = join(work, 'rootfs')
  const owners = join(work, 'owners')
  try {
    say(`installing Debian ${SUITE} with ${PACKAGES.length} packages and what they need`)
    await (isRoot() ? install(build, tree) : installWithoutRoot(build, { work, tree, owners }))
    await prepareDebianTree(tree)
    say('making its root file system')
    return await store.packTemplate({
      ...{ name, tree, builtSince, boot, config: { init: 'system' } },
      ...(!isRoot() && { owners }),
      ...(sizeBytes !== undefined && { sizeBytes }),
    })
  } finally {
    await rm(work, { recursive: true, force: true })
  }
}

async function install({ packages = [], env }: DebianBuild, target: string): Promise<void> {
  const patterns = [
    ...LEFT_OUT.map((pattern) => `--dpkgopt=path-exclude=${pattern}`),
    ...KEPT.map((pattern) => `--dpkgopt=path-include=${pattern}`),
  ]
  const include = `--include=${[...PACKAGES, ...packages].join(',')}`
  const settings = PROXIES.flatMap((key) => (env[key] === undefined ? [] : [[key, env[key]] as const]))
  const args = ['--quiet', '--variant=minbase', include, ...patterns, SUITE, target]
  // As root it mounts /proc, /sys and devices below the target; in a namespace of their own they end with it, and no
  // clean-up after a build that was killed can walk into them.
  const [command = '', ...rest] = isRoot()
    ? ['unshare', '--mount', '--', 'mmdebstrap', ...args]
    : ['mmdebstrap', ...args]
  await runBuildStep(command, rest, { timeoutMs: BUILD_TIMEOUT_MS, env: Object.fromEntries(settings) })
}

interface Places {
  readonly work: string
  readonly tree: string
  readonly owners: string
}

/**
 * mmdebstrap takes a user namespace with ids of /etc/subuid, or fakechroot. Only its archive knows the owners then;
 * fakeroot writes down those that it could not give while it unpacks, for mke2fs to read.
 */
async function installWithoutRoot(build: DebianBuild, { work, tree, owners }: Places): Promise<void> {
  const archive = join(work, 'rootfs.tar')
  await install(build, archive).catch((cause: unknown) => {
    const said = cause instanceof Error ? cause.message : ''
    if (!said.includes('chroot mode')) throw cause
    throw new SidecarError('image_build_failed', { cause, detail: `${said}\n${WITHOUT_ROOT}` })
  })
  await mkdir(tree)
  const unpack = ['tar', '--extract', '--numeric-owner', '--file', archive, '--directory', tree]
  const limits = ['--exclude', './dev/*']
  await runBuildStep('fakeroot', ['-s', owners, '--', ...unpack, ...limits], { timeoutMs: BUILD_TIMEOUT_MS })
  await rm(archive)
}

/** Every file that would be the same in all VMs and must not, or that says what our init is to say. */
export async function prepareDebianTree(tree: string): Promise<void> {
  await writeInside(tree, '/etc/landfall/init', { text: 'system\n', mode: 0o644 })
  // Empty: systemd makes an id at the first boot.
  await writeInside(tree, '/etc/machine-id', { text: '', mode: 0o444 })
  await writeInside(tree, '/etc/fstab', { text: '# The root file system is mounted already.\n', mode: 0o644 })
  // systemd would set the host name to what stands here, over that of our init.
  for (const path of ['etc/hostname', 'etc/resolv.conf', 'var/lib/dbus/machine-id'])
    await rm(join(tree, path), { force: true })
  const log = '[Journal]\nStorage=persistent\nSystemMaxUse=32M\n'
  await writeInside(tree, '/etc/systemd/journald.conf.d/landfall.conf', { text: log, mode: 0o644 })
  await mask(tree)
}

async function mask(tree: string): Promise<void> {
  for (const unit of MASKED) {
    const path = join(tree, 'etc/systemd/system', unit)
    await rm(path, { force: true })
    await symlink('/dev/null', path)
  }
}
