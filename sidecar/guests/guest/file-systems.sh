# Mounts what programs expect beside the root file system; sourced by init.

mount_file_systems() {
  for folder in dev/pts dev/shm run tmp etc root var; do
    [ -d /$folder ] || mkdir -p /$folder
  done
  [ -k /tmp ] || chmod 1777 /tmp
  mount -t tmpfs -o mode=755,nosuid,nodev,size=20% run /run
  mkdir -p -m 700 $state
  chmod 622 /dev/console
  # The image's own init sees to the rest.
  [ $init = system ] && return
  mount -t devpts -o mode=620,ptmxmode=666,gid=5 pts /dev/pts
  mount -t tmpfs -o mode=1777,nosuid,nodev shm /dev/shm
  mount -t cgroup2 -o nosuid,nodev,noexec cgroup /sys/fs/cgroup
  ln -sf /proc/self/fd /dev/fd
  ln -sf /proc/self/fd/0 /dev/stdin
  ln -sf /proc/self/fd/1 /dev/stdout
  ln -sf /proc/self/fd/2 /dev/stderr
}
