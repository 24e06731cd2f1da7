/**
 * Stands in for a VMM: opens the guest's tap as the user of its slot, and carries frames between it and a tap in
 * another namespace, where ordinary programs play the guest. Whole frames of a test's making go out as well.
 */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'

/** Numbers from linux/if_tun.h, linux/sched.h and the x86-64 and arm64 tables of system calls. */
const PERL = `
use strict; use warnings; use IO::Select;
my ($guest, $vm, $device, $uid) = @ARGV;
my $setns = (\`uname -m\` =~ /aarch64/) ? 268 : 308;
sub enter { open(my $ns, '<', $_[0]) or die "$_[0]: $!"; syscall($setns, fileno($ns), 0x40000000) == 0 or die "setns: $!"; }
sub tap { open(my $tap, '+<', '/dev/net/tun') or die "tun: $!";
  ioctl($tap, 0x400454ca, my $request = pack('Z16 s x22', $_[0], 0x1002)) or die "tap $_[0]: $!\\n"; return $tap; }
enter($guest); my $inner = tap('eth0');
enter($vm);
$( = $) = "$uid $uid"; $< = $> = $uid; die 'still root' if $> != $uid;
my $outer = tap($device);
$| = 1; print "ready\\n";
my $select = IO::Select->new($inner, $outer, \\*STDIN); my $text = '';
while (1) { for my $ready ($select->can_read) {
  if ($ready == \\*STDIN) {
    sysread(STDIN, $text, 65536, length $text) or exit 0;
    while ($text =~ s/^(.*)\\n//) { syswrite($outer, pack('H*', $1)); }
  } else {
    sysread($ready, my $frame, 65536) or next;
    syswrite($ready == $inner ? $outer : $inner, $frame);
  } } }
`

export interface Cable extends AsyncDisposable {
  /** Out of the guest, towards the host; in hex. */
  sendFrame(hex: string): void
}

export interface CableEnds {
  /** Files of namespaces. */
  readonly guest: string
  readonly vm: string
  readonly device: string
  readonly uid: number
}

/** @throws Error with what the kernel said when the user may not have the tap */
export async function startCable({ guest, vm, device, uid }: CableEnds): Promise<Cable> {
  const child: ChildProcess = spawn('perl', ['-e', PERL, guest, vm, device, String(uid)], {
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  let said = ''
  child.stderr?.on('data', (data) => {
    said += String(data)
  })
  const ended = once(child, 'close')
  const ready = child.stdout ? once(child.stdout, 'data') : ended
  if ((await Promise.race([ready.then(() => 'ready'), ended.then(() => 'ended')])) === 'ended') {
    throw new Error(said.trim())
  }
  return {
    sendFrame: (hex) => child.stdin?.write(`${hex}\n`),
    [Symbol.asyncDispose]: async () => {
      child.stdin?.end()
      await ended
    },
  }
}
