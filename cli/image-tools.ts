/** What the command line asks of the images of this machine; main.ts brings it, since it needs the sidecar. */

export interface ImageWanted {
  /** One of ours: `hello`, `small`, `debian`. */
  readonly kind?: string
  /** An OCI image, as a reference to a registry or as a path. */
  readonly oci?: string
  readonly name?: string
}

export interface ImageRow {
  readonly name: string
  /** SHA-256 of the root file system, in hex. */
  readonly digest: string
  /** What the guest sees. */
  readonly sizeBytes: number
  /** What it takes on this machine. */
  readonly usedBytes: number
  readonly port?: number
}

export interface ImageTools {
  /** `say` is told of each step as it begins. */
  build(wanted: ImageWanted, say: (line: string) => void): Promise<ImageRow>
  list(): Promise<readonly ImageRow[]>
  remove(name: string): Promise<void>
}
