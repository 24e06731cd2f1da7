/** Finds where cgroup hierarchies are mounted (proc_pid_mountinfo(5)). */

export interface CgroupMounts {
  /** The v2 tree, whether or not it has controllers. */
  readonly unified?: string
  /** Where each v1 controller is mounted; several may share a hierarchy. */
  readonly v1: ReadonlyMap<string, string>
}

/** Of several mounts of a hierarchy the first counts. */
export function parseCgroupMounts(mountInfo: string): CgroupMounts {
  const mounts = mountInfo.split('\n').flatMap(parseLine)
  const unified = mounts.find(({ type }) => type === 'cgroup2')?.path
  const v1 = new Map<string, string>()
  for (const { path, options } of mounts.filter(({ type }) => type === 'cgroup')) {
    for (const option of options) if (!v1.has(option)) v1.set(option, path)
  }
  return { v1, ...(unified !== undefined && { unified }) }
}

function parseLine(line: string) {
  const [before, after] = line.split(' - ')
  const path = before?.split(' ')[4]
  const [type, , options] = after?.split(' ') ?? []
  if (path === undefined || type === undefined || options === undefined) return []
  return [{ path: decodePath(path), type, options: options.split(',') }]
}

/** Blanks and the like are written as three octal digits. */
function decodePath(path: string): string {
  return path.replaceAll(/\\([0-7]{3})/g, (_, octal: string) =>
    String.fromCharCode(Number.parseInt(octal, 8)),
  )
}
