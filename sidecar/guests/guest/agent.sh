#!/.landfall/bin/busybox sh
# Tells the host over the virtio-serial port which ports listen, and does what the host asks.

here=/.landfall/bin
root_disk=$1
. $here/settings.sh
. $here/identity.sh

find_port() {
  for folder in /sys/class/virtio-ports/*; do
    name=
    read -r name <"$folder/name"
    [ "$name" = landfall ] && port=/dev/${folder##*/} && return
  done
  echo 'landfall: the machine has no port named landfall'
  sleep 60
  exit 1
}

# Looks often after a boot or a wake, when programs are about to listen.
be_quick() {
  echo quick >&7
}

# The observer says "=" while nothing has changed.
tell_ports() {
  echo "$1" >&4
  read -r -t 30 answer <&5 || exit 1
  [ "$answer" = '=' ] || echo "$answer" >&3
}

tell_all() {
  echo 'hello 1' >&3
  tell_ports all
}

tell_net() {
  echo net >&4
  read -r -t 30 answer <&5 || exit 1
  echo "$answer" >&3
}

power_off() {
  if [ -d /run/systemd/system ]; then
    # SIGRTMIN+4 asks systemd to power off (systemd(1)).
    kill -38 1
  elif [ -e $state/own-init ]; then
    kill -USR2 1
  else
    /sbin/poweroff
  fi
}

refresh() {
  echo "$1" | base64 -d | $here/refresh && be_quick
}

fetch_keys() {
  fetch authorized-keys >$state/authorized_keys && set_authorized_keys <$state/authorized_keys
}

# Answers a request by whether the rest of the words, as a command, succeeds.
answer() {
  id=$1
  shift
  if said=$("$@" 2>&1); then
    echo "done $id" >&3
  else
    echo "failed $id ${said:-$1}" | head -n 1 | cut -c 1-500 >&3
  fi
}

obey() {
  case $1 in
    hello) tell_all ;;
    net) tell_net && echo "done $2" >&3 ;;
    sync) answer "$2" sync ;;
    keys) answer "$2" fetch_keys ;;
    grow) answer "$2" $here/resize2fs "$root_disk" ;;
    refresh) answer "$2" refresh "$3"; be_quick ;;
    # Before the end: it takes the agent along.
    poweroff) echo "done $2" >&3; power_off ;;
    *) [ -z "$2" ] || echo "failed $2 unknown request" >&3 ;;
  esac
}

# Passes whole lines on, by a process of its own: a read that times out in the middle of a line forgets what it has
# read, so whoever obeys has no time limit. The end of the file says that the host is away, which is told once.
hear() {
  away=
  while :; do
    if read -r line <&3; then
      away=
      echo "$line" >&6
    else
      [ -n "$away" ] || echo away >&6
      away=1
      sleep 0.1
    fi
  done
}

# Every 2 s, and for 20 s after it was told to be quick every 0.2 s. No process is started for a pause.
tick() {
  left=100
  while :; do
    pause=2
    [ $left -gt 0 ] && pause=0.2 && left=$((left - 1))
    read -r -t $pause word <&7 && left=100
    echo tick >&6
  done
}

find_port
mkfifo $state/ask $state/told $state/heard $state/pace 2>/dev/null
awk -f $here/observe-ports.awk <>$state/ask >$state/told &
observer=$!
exec 3<>"$port" 4<>$state/ask 5<$state/told 6<>$state/heard 7<>$state/pace
hear &
hearer=$!
tick &
ticker=$!
trap 'kill $observer $hearer $ticker' EXIT
tell_all
while read -r request <&6; do
  # What is written while the host is away waits for it.
  case $request in
    tick) ;;
    away) tell_all ;;
    *) obey $request ;;
  esac
  tell_ports ports
done
