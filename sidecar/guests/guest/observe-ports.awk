# Answers each line read with the ports that listen ("ports", "all") or with the use of the network ("net"), without forking.

function look(file, only_listening,    line, part, place) {
  getline line < file
  while ((getline line < file) > 0) {
    split(line, part, " ")
    # Listening sockets (state 0A) come first in the file.
    if (part[4] != "0A" && only_listening) break
    place = index(part[2], ":")
    if (part[4] == "0A") add(substr(part[2], 1, place - 1), to_number(substr(part[2], place + 1)))
    else if (part[4] == "01" && to_number(substr(part[2], place + 1)) in listening) established++
  }
  close(file)
}

# Loopback addresses: 127.0.0.0/8, ::1, ::ffff:127.0.0.0/104, each 32 bits with the lowest byte first.
function add(address, port) {
  if (address ~ /^(00000000000000000000000001000000|(0000000000000000FFFF0000)?......7F)$/) return
  if (port in listening || count >= 1000) return
  listening[port] = 1
  count++
  for (place = count; place > 1 && sorted[place - 1] > port; place--) sorted[place] = sorted[place - 1]
  sorted[place] = port
}

function to_number(hex,    digit, number) {
  for (digit = 1; digit <= 4; digit++) number = number * 16 + index("0123456789ABCDEF", substr(hex, digit, 1)) - 1
  return number
}

function list(    text, place) {
  text = "ports"
  for (place = 1; place <= count; place++) text = text " " sorted[place]
  return text
}

# The second line of Tcp in the file has the figures; the sixth is PassiveOpens (RFC 4022).
function count_accepted(    line, part, is_head, accepted) {
  is_head = 1
  while ((getline line < "/proc/net/snmp") > 0) {
    if (line !~ /^Tcp:/) continue
    split(line, part, " ")
    if (!is_head) accepted = part[7]
    is_head = 0
  }
  close("/proc/net/snmp")
  return accepted
}

{
  delete listening
  count = established = 0
  look("/proc/net/tcp", $1 != "net")
  look("/proc/net/tcp6", $1 != "net")
  if ($1 == "net") answer = "net " established " " count_accepted()
  else {
    now = list()
    answer = now == before && $1 == "ports" ? "=" : now
    before = now
  }
  print answer
  fflush()
}
