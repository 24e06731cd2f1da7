/** What an image is once it can boot: files that never change, named by what is in them. */

/** How a guest is to be started, beside its root file system. */
export interface ImageConfig {
  /** What runs in it, as one command; an image that boots an init of its own has none. */
  readonly command?: readonly string[]
  readonly environment?: Readonly<Record<string, string>>
  readonly workingFolder?: string
  /** A name or an id, with an optional group behind a colon. */
  readonly user?: string
  /** What the VM's bare name leads to unless its record says otherwise. */
  readonly port?: number
  /** `own`: our init runs the command. `system`: the image's /sbin/init boots it. */
  readonly init: 'own' | 'system'
}

export interface Template {
  readonly name: string
  /** SHA-256 of the root file system, in hex. */
  readonly digest: string
  readonly config: ImageConfig
  /** Each a file that is never written: raw ext4, uncompressed PVH kernel, initramfs, raw ext4 with our tools. */
  readonly rootFile: string
  readonly kernelFile: string
  readonly initramfsFile: string
  readonly toolsFile: string
}

export interface Templates {
  list(): Promise<readonly string[]>
  /** @throws SidecarError vm_image_unknown naming what there is */
  get(name: string): Promise<Template>
}
