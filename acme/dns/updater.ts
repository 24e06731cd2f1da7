/** What orders need of a DNS server that takes updates (RFC 2136). */

/** Every method rejects with AcmeError `certificate_dns_update`, or at once when `signal` aborts. */
export interface DnsUpdater {
  /** Whether the name is in a zone that is updated here. */
  covers(name: string): boolean
  /** Adds one TXT value beside others. */
  add(name: string, value: string, signal: AbortSignal): Promise<void>
  /** Whether the server that is updated, and every other one of the zone that can be asked, gives the value. */
  isVisible(name: string, value: string, signal: AbortSignal): Promise<boolean>
  /** Takes this value alone away; none is no error. */
  remove(name: string, value: string, signal: AbortSignal): Promise<void>
}
