# Ends all programs, writes everything out and ends the machine; sourced by init.

# True while a program runs beside process 1; kernel threads have no command line.
is_busy() {
  for folder in /proc/[0-9]*; do
    [ $folder = /proc/1 ] && continue
    word=
    read -r word <$folder/cmdline
    [ -n "$word" ] && return 0
  done 2>/dev/null
  return 1
}

shut_down() {
  trap '' USR1 USR2 PWR TERM INT
  kill -TERM -1
  for try in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30; do
    is_busy || break
    sleep 0.1
  done
  kill -KILL -1
  sync
  mount -o remount,ro / 2>/dev/null
  $1 -f
}
