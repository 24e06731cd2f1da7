/** Decides how fast the VMs of a pool may write, so that the pool's disk quota holds. */

export interface DiskLook {
  /** What the pool may still take; negative when it has more than it may. */
  readonly roomBytes: number
  /** Since the look before. */
  readonly grownBytes: number
  /** VMs whose disks are served now. */
  readonly vms: number
  /** The present limit of each; undefined for none. */
  readonly rate: number | undefined
}

export interface DiskRateSettings {
  /** Between looks at a pool that is not limited, */
  readonly tickMs: number
  /** and at one that is. */
  readonly limitedTickMs: number
  /** All that the machine's disk writes in a second. */
  readonly diskBytesPerSecond: number
  /** How much more than was written may be allocated: a lone block takes a whole cluster. */
  readonly clusterFactor: number
  /** For a VM of a full pool, so that it can still delete and trim, */
  readonly floorBytesPerSecond: number
  /** and while a full pool goes on growing. */
  readonly leastBytesPerSecond: number
}

const MS_PER_SECOND = 1_000
/** Above what has to be, so that a pool at the edge is not limited and let go at every look. */
const RAISE_FACTOR = 1.25

/**
 * Bytes a second for each VM; undefined for no limit. Until the next look they cannot take more than half of the
 * room, so that a look that comes late does no harm.
 */
export function chooseRate(look: DiskLook, settings: DiskRateSettings): number | undefined {
  const { roomBytes, vms, rate } = look
  if (vms === 0) return undefined
  const { tickMs, limitedTickMs, diskBytesPerSecond, clusterFactor } = settings
  const enough = (2 * diskBytesPerSecond * tickMs) / MS_PER_SECOND
  if (roomBytes >= (rate === undefined ? enough : enough * RAISE_FACTOR)) return undefined
  const bound = Math.floor((roomBytes * MS_PER_SECOND) / (2 * clusterFactor * vms * limitedTickMs))
  const wanted = Math.max(bound, floorOf(look, settings))
  const isWorthIt = rate === undefined || wanted < rate || wanted >= rate * RAISE_FACTOR
  return isWorthIt ? wanted : rate
}

/** Writing over what it has costs a full pool nothing, so a VM that only deletes keeps the floor. */
function floorOf({ roomBytes, grownBytes, rate }: DiskLook, settings: DiskRateSettings): number {
  const { floorBytesPerSecond, leastBytesPerSecond } = settings
  if (roomBytes > 0 || grownBytes <= 0) return floorBytesPerSecond
  const half = Math.floor((rate ?? floorBytesPerSecond) / 2)
  return Math.min(floorBytesPerSecond, Math.max(half, leastBytesPerSecond))
}
