#!/bin/busybox sh
# Loads the drivers, mounts the root file system and our tools, and hands over to the init on the tools disk.

give_up() {
  echo "landfall: $*" >/dev/console
  reboot -f
}

/bin/busybox mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
exec </dev/console >/dev/console 2>&1

while read -r module; do
  insmod "/modules/$module" || echo "landfall: cannot load $module"
done </modules/order

# Which of the two is named vda depends on the order in which the machine lists its devices.
for disk in vda vdb; do
  read_only=
  read -r read_only <"/sys/block/$disk/ro"
  case $read_only in
    0) root=/dev/$disk ;;
    1) tools=/dev/$disk ;;
  esac
done
[ -n "$root" ] && [ -n "$tools" ] || give_up 'there is no writable disk beside a read-only one'

# noinit_itable: else the kernel writes empty inode tables in the background, and every one takes space on the host.
# discard: space of deleted files goes back to the pool.
mount -t ext4 -o noatime,noinit_itable,discard "$root" /newroot || give_up "cannot mount $root"
mkdir -p /newroot/.landfall /newroot/proc /newroot/sys /newroot/dev
mount -t ext4 -o ro,noatime,nodev "$tools" /newroot/.landfall || give_up "cannot mount $tools"
for folder in proc sys dev; do
  /bin/busybox mount -o move "/$folder" "/newroot/$folder" || give_up "cannot move /$folder"
done
exec /bin/busybox switch_root -c /dev/console /newroot /.landfall/init "$root"
