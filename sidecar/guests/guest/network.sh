# Sets up the loopback and the one network device as the command line says; sourced by init.

start_network() {
  ip link set lo up
  [ -n "$address" ] || return
  ip address add "$address" dev eth0
  ip link set eth0 up
  # The gateway need not be in the network of the address: it is on the link.
  [ -n "$gateway" ] && ip route add default via "$gateway" dev eth0 onlink
  if [ -n "$name_server" ]; then
    rm -f /etc/resolv.conf
    echo "nameserver $name_server" >/etc/resolv.conf
  fi
}
