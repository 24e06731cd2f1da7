#!/.landfall/bin/busybox sh
# Process 1 of a guest: brings up what an image takes for granted, then runs the image's command or its own init.

export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
here=/.landfall/bin
root_disk=$1

. $here/settings.sh
. $here/file-systems.sh
. $here/network.sh
. $here/identity.sh
. $here/shut-down.sh

say() {
  echo "landfall: $*" >/dev/console
}

# Runs it again whenever it ends; a pause of 1 s, and of 10 s when it ends again within 10 s.
keep_running() {
  while :; do
    read -r before rest </proc/uptime
    "$@"
    status=$?
    read -r after rest </proc/uptime
    pause=1
    [ $((${after%.*} - ${before%.*})) -lt 10 ] && pause=10
    say "$1 ended with status $status and is run again in $pause s"
    sleep $pause
  done
}

start_ssh() {
  # An image that starts an SSH server of its own needs the port.
  [ "$init" = system ] && [ -n "$(find /etc/systemd/system -name 'ssh*.service' -o -name 'ssh*.socket' 2>/dev/null)" ] && return
  [ -s $state/dropbear_host_key ] || return
  keep_running $here/dropbear -F -E -s -m -r $state/dropbear_host_key -P '' -p 22 -K 30 </dev/null >$state/ssh.log 2>&1 &
}

read_settings
init=own
[ -e /etc/landfall/init ] && read -r init </etc/landfall/init
mount_file_systems
[ $init = own ] && : >$state/own-init
start_network
fetch_identity
if [ $init = own ] && [ -x /etc/landfall/start ]; then
  keep_running /etc/landfall/start </dev/null >/dev/console 2>&1 &
fi
keep_running $here/agent "$root_disk" </dev/null >/dev/console 2>&1 &
start_ssh

[ $init = system ] && exec /sbin/init
trap 'shut_down poweroff' USR1 USR2 PWR
trap 'shut_down reboot' TERM INT
# Waiting for all children takes in orphans, too, as they end.
while :; do
  wait
done
