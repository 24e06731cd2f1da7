# Gives the guest its host name, SSH host key and authorized keys from the metadata service; sourced by init and the agent.

# A host that is busy may answer late; a guest without an identity still runs its command.
fetch_identity() {
  for try in 1 2 3 4 5; do
    fetch boot >$state/boot && break
    sleep 0.5
  done
  while read -r name value; do
    case $name in
      hostname | authorized_keys | ssh_host_ed25519_key | ssh_host_dropbear_key)
        echo "$value" | base64 -d >$state/$name ;;
    esac
  done <$state/boot
  rm -f $state/boot
  hostname=
  read -r hostname <$state/hostname
  [ -z "$hostname" ] || set_hostname "$hostname"
  set_host_key
  prepare_login
  [ -e $state/authorized_keys ] && set_authorized_keys <$state/authorized_keys
}

set_hostname() {
  echo "$1" >/proc/sys/kernel/hostname
  echo "$1" >/etc/hostname
  hosts='127.0.0.1 localhost
::1 localhost ip6-localhost ip6-loopback'
  if [ -s /etc/hosts ]; then
    hosts=
    while read -r line; do
      case $line in
        *'# landfall') ;;
        *) hosts="$hosts${hosts:+
}$line" ;;
      esac
    done </etc/hosts
  fi
  echo "$hosts
127.0.1.1 $1 # landfall" >/etc/hosts
}

# Dropbear has a format of its own; a host that does not send it leaves the conversion to the guest.
set_host_key() {
  key=$state/ssh_host_ed25519_key
  [ -s $key ] && chmod 600 $key
  if [ -s $state/ssh_host_dropbear_key ]; then
    mv $state/ssh_host_dropbear_key $state/dropbear_host_key
  elif [ -s $key ]; then
    /.landfall/bin/dropbearconvert openssh dropbear $key $state/dropbear_host_key 2>/dev/null
  fi
  if [ -s $key ] && [ -d /etc/ssh ]; then
    cp $key /etc/ssh/ssh_host_ed25519_key
    rm -f /etc/ssh/ssh_host_ed25519_key.pub
  fi
}

# Without an entry for root, or with a shell that is not there, nobody could log in.
prepare_login() {
  home='' shell=''
  [ -e /etc/passwd ] || echo 'root:x:0:0:root:/root:/.landfall/bin/sh' >/etc/passwd
  [ -e /etc/group ] || echo 'root:x:0:' >/etc/group
  while IFS=: read -r user password uid gid gecos folder program; do
    [ "$user" = root ] && home=$folder shell=$program
  done </etc/passwd
  case $shell in
    */nologin | */false) is_shell= ;;
    *) is_shell=$shell ;;
  esac
  if [ ! -x "$is_shell" ]; then
    shell=/.landfall/bin/sh
    sed -i "s|^\(root:.*:\)[^:]*\$|\1$shell|" /etc/passwd
  fi
  [ -e /etc/shells ] || echo /bin/sh >/etc/shells
  while read -r line; do
    [ "$line" = "$shell" ] && return
  done </etc/shells
  echo "$shell" >>/etc/shells
}

# The owner's lines stand between two marks; whatever else is in the file belongs to the guest.
set_authorized_keys() {
  home=/root
  while IFS=: read -r user password uid gid gecos folder program; do
    [ "$user" = root ] && [ -n "$folder" ] && home=$folder
  done </etc/passwd
  mkdir -p "$home/.ssh"
  chmod 700 "$home/.ssh"
  file=$home/.ssh/authorized_keys
  {
    echo '# landfall: begin (written by the host; put your own lines outside of this block)'
    cat
    echo '# landfall: end'
    [ -e "$file" ] && sed '/^# landfall: begin/,/^# landfall: end/d' "$file"
  } >"$file.new"
  chmod 600 "$file.new"
  mv "$file.new" "$file"
}
