# Functions of the guest parts of the cases (busybox sh). An array's devices come from `members NAME`.

# busybox's sh would run its own applets of these names
mdadm() { /sbin/mdadm "$@"; }
mke2fs() { /sbin/mke2fs "$@"; }
e2fsck() { /sbin/e2fsck "$@"; }

members() { eval "echo \"\$DISKS_$1\""; }

# ok TEXT and bad TEXT are what the host counts.
ok() { echo "ok: $*"; }
bad() { echo "FAIL: $*"; }
# want TEXT EXPECTED GOT
want() { if [ "$2" = "$3" ]; then ok "$1"; else bad "$1: want '$2', got '$3'"; fi; }

attribute() { cat "/sys/block/md0/md/$1"; }
running() { case $(attribute array_state 2>/dev/null) in '' | clear | inactive) return 1 ;; esac; }
stop() { sync; mdadm --stop /dev/md0 >/dev/null 2>&1 || bad "the array cannot be stopped"; }

# A recovery that is due may start a moment after the array: only twice idle is idle.
settle() {
  local calm=0
  while [ $calm -lt 2 ]; do
    if [ "$(attribute sync_action)" = idle ]; then calm=$((calm + 1)); else calm=0; fi
    sleep 0.4
  done
}
mismatches() {
  echo check > /sys/block/md0/md/sync_action
  settle
  attribute mismatch_cnt
}
content() { sha256sum "/dev/md0" | cut -d' ' -f1; }

# assemble NAME [mdadm's options]: as a user would, without force. Says why when it does not run.
assemble() {
  local name=$1 said
  shift
  # shellcheck disable=SC2046
  said=$(mdadm --assemble /dev/md0 "$@" $(members "$name") 2>&1)
  running && return 0
  bad "$name: the kernel does not start it: $said"
  dmesg | grep 'md[:/]' | tail -n 5
  mdadm --stop /dev/md0 >/dev/null 2>&1
  return 1
}

# judge NAME SHA256 [STATE]: the kernel takes it as it is, finds what it should, and ends with nothing wrong.
# STATE: clean (nothing to do), resync, rebuild, any.
judge() {
  local name=$1 sum=$2 state=${3:-clean} device due
  for device in $(members "$name"); do
    mdadm --examine "$device" >/dev/null 2>&1 || bad "$name: mdadm --examine refuses $device"
  done
  assemble "$name" --readonly || return 1
  due=clean
  [ "$(attribute resync_start)" = none ] || due=resync
  [ "$(attribute degraded)" = 0 ] || due=rebuild
  [ "$state" = any ] || want "$name: the kernel judges it $state" "$state" "$due"
  [ -z "$sum" ] || want "$name: content" "$sum" "$(content)"
  mdadm --readwrite /dev/md0 >/dev/null 2>&1
  settle
  want "$name: all members in sync" 0 "$(attribute degraded)"
  want "$name: check counts 0" 0 "$(mismatches)"
  [ -z "$sum" ] || want "$name: content after the kernel's own recovery" "$sum" "$(content)"
  stop
}
