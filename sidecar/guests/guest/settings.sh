# Reads what the host has put on the kernel's command line (landfall.NAME=VALUE); sourced by init and the agent.

state=/run/landfall

read_settings() {
  address='' gateway='' name_server='' epoch=''
  read -r command_line </proc/cmdline
  for word in $command_line; do
    case $word in
      landfall.ip=*) address=${word#*=} ;;
      landfall.gw=*) gateway=${word#*=} ;;
      landfall.dns=*) name_server=${word#*=} ;;
      landfall.epoch=*) epoch=${word#*=} ;;
    esac
  done
}

# Asks the metadata service for a path; the field keeps requests out that an app is made to send.
# Not wget -T: it ends busybox 1.35 with a segmentation fault.
fetch() {
  timeout 3 wget -q -O - --header 'Landfall-Metadata: 1' "http://169.254.169.254/v1/$1"
}
