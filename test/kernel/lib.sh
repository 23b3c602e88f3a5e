# shellcheck shell=bash
# Functions of the host parts of the cases. A case is cases/NAME.sh (this side) and cases/NAME.guest (under the kernel);
# it runs with -euo pipefail in bash, has the empty folder $WORK, and says `ok: ...` or `FAIL: ...` for every check.

RANDOM=$((HOLDFAST_SEED % 32768))
RUN_JS=$KERNEL_TEST/../../bin/run.js
hf() { node "$RUN_JS" "$@"; }

ok() { echo "ok: $*"; }
bad() { echo "FAIL: $*"; }
want() { if [ "$2" = "$3" ]; then ok "$1"; else bad "$1: want '$2', got '$3'"; fi; }
# ends STATUS TEXT COMMAND...: the command's exit status is what it should be; what it said is kept for a failure.
ends() {
  local expected=$1 text=$2 status=0
  shift 2
  "$@" > "$WORK/said" 2>&1 || status=$?
  want "$text" "$expected" "$status"
  [ "$status" = "$expected" ] || cat "$WORK/said"
}

# pattern LETTER BYTES: text of 16 bytes a line that names its letter and its place, so that no two sectors are equal.
pattern() { seq -f "$1%014.0f" 0 $(($2 / 16)) | head -c "$2" || true; }
sum() { sha256sum "$@" | cut -d' ' -f1; }
# sum_of VOLUME [LENGTH]: of the content as we read it
sum_of() { { hf read "$1" ${2:+--length "$2"} --output - 2> "$WORK/said" | sum; } || { cat "$WORK/said" >&2; echo unreadable; }; }
blank() { local image; for image in "${@:2}"; do truncate -s "$1" "$image"; done; }

# ---- the machine: `disks NAME IMAGE...` attaches an array's members as `members NAME` of the guest,
# `disk SERIAL IMAGE` one more disk; `boot STAGE [NAME=VALUE...]` runs the case's guest part with all of them, once.
attached=() named=()
disk() { attached+=("$1=$2"); }
disks() {
  local name=$1 image devices=
  shift
  for image in "$@"; do
    disk "d${#attached[@]}" "$image"
    devices="$devices${devices:+ }/dev/d$((${#attached[@]} - 1))"
  done
  named+=("DISKS_$name=$devices")
}
# With CUT_ON=TEXT the machine's power goes when the guest prints TEXT.
boot() {
  local stage=$1 status=0 expected=0
  [ -z "${CUT_ON:-}" ] || expected=137
  shift
  bash "$KERNEL_TEST/vm/run" "$KERNEL_CACHE" "$KERNEL_TEST/cases/$CASE.guest" "STAGE=$stage" "${named[@]}" "$@" -- "${attached[@]}" || status=$?
  attached=() named=()
  [ $status = $expected ] || bad "the guest's part '$stage' ended with $status"
}

# ---- our own crash
# A member's superblock (1.x, at the byte given) says that writes are under way, or that it is being rebuilt.
is_active() { [ "$(od -An -tu8 -j $(($2 + 208)) -N 8 "$1" | tr -d ' ')" = 0 ]; }
is_rebuilding() { [ $(($(od -An -tu4 -j $(($2 + 8)) -N 4 "$1" | tr -d ' ') & 2)) != 0 ]; }
# when PID COMMAND...: waits while PID lives until the command succeeds; fails when it never did.
when() {
  local pid=$1
  shift
  until "$@"; do
    kill -0 "$pid" 2>/dev/null || return 1
    sleep 0.005
  done
}
# A pause of at most so many milliseconds, by the seed.
moment() { sleep "0.$(printf '%03d' $((RANDOM % $1)))"; }
# kill_amid_write VOLUME IMAGE SUPERBLOCK-AT OLD NEW: writes NEW at 0 and kills the writer once IMAGE's superblock says that
# writes are under way. A writer that was done before the blow (all of it, or all but its word in the superblock that it is)
# is set back with OLD, and the blow comes sooner.
kill_amid_write() {
  local name pid pause
  name=$(basename "$1")
  for pause in 150 100 60 40 20 10 5 2; do
    node "$RUN_JS" write "$1" --offset 0 --input "$5" > "$WORK/said" 2>&1 &
    pid=$!
    if when "$pid" is_active "$2" "$3"; then
      moment $pause
      if kill -9 "$pid" 2>/dev/null; then
        wait "$pid" 2>/dev/null || true
        look "$1"
        if is_active "$2" "$3" && [ "$(told 'dirtyStripes > 0')" = true ]; then
          ok "$name: killed amid writes"
          return 0
        fi
      fi
    fi
    if ! wait "$pid" 2>/dev/null && [ -s "$WORK/said" ]; then cat "$WORK/said"; fi
    hf write "$1" --offset 0 --input "$4" > /dev/null 2>&1 || { bad "$name: cannot be set back"; return 0; }
  done
  bad "$name: the writer was always done before it was killed"
}
# each_sector TEXT OLD NEW GOT: every sector of GOT is that of OLD or that of NEW, and beyond NEW's end that of OLD.
each_sector() {
  local said
  if said=$(node "$KERNEL_TEST/each-sector.mjs" "$2" "$3" "$4"); then ok "$1 ($said)"; else bad "$1 ($said)"; fi
}

# cut_write VOLUME OLD NEW: writes NEW at 0 and cuts the power amid it, at an event that the seed chooses, so that the volume
# is dirty for the kernel too. A cut that came before or after that is set back with OLD, and another one comes.
cut_write() {
  local name try status
  name=$(basename "$1")
  for try in 1 2 3 4 5 6 7 8; do
    status=0
    hf crash inject --seed $((RANDOM * 8 + try)) -- write "$1" --offset 0 --input "$3" > "$WORK/said" 2>&1 || status=$?
    [ $status = 75 ] || { bad "$name: the cut ended with $status"; cat "$WORK/said"; return 0; }
    look "$1"
    if [ "$(told 'dirtyStripes > 0 && raid.resyncOffsetBytes !== null')" = true ]; then
      ok "$name: the power was cut amid a write (try $try, $(told dirtyStripes) stripes are dirty)"
      return 0
    fi
    hf write "$1" --offset 0 --input "$2" > /dev/null 2>&1 || { bad "$name: cannot be set back"; return 0; }
  done
  bad "$name: every cut left it clean"
}

# ---- volumes of four members with 64 KiB chunks, in $WORK/NAME
# make NAME SIZE CONTENT [FLAG...]
make() {
  ends 0 "$1: create" hf create "$WORK/$1" --members 4 --size "$2" --chunk 64KiB "${@:4}" --yes
  ends 0 "$1: write" hf write "$WORK/$1" --offset 0 --input "$3"
}
attach() { disks "$1" "$WORK/$1"/member-[0-3].img; }
# got NAME SIZE: a disk for the guest to put what it reads on, $WORK/got-NAME here
got() { blank "$2" "$WORK/got-$1"; disk "got-$1" "$WORK/got-$1"; }
# ours NAME: what we read, in $WORK/ours
ours() { hf read "$WORK/$1" --output "$WORK/ours" > "$WORK/said" 2>&1 || { bad "$1: read"; cat "$WORK/said"; }; }
# spoil_parity NAME STRIPE: makes the parity of a stripe wrong (left-symmetric, data at 1 MiB)
spoil_parity() {
  head -c 512 /dev/zero | tr '\0' 'x' |
    dd of="$WORK/$1/member-$((3 - $2 % 4)).img" bs=512 seek=$((2048 + $2 * 128 + 17)) conv=notrunc status=none
}

# ---- what status says: `look VOLUME`, then `told FIELD`, an expression in its result
look() { hf status "$1" --json > "$WORK/status.json" 2> "$WORK/said" || true; }
told() { node -p "with (JSON.parse(require('fs').readFileSync('$WORK/status.json')).result) { $1 }"; }
# is TEXT NAME STATE VERDICT STRIPES: its state, whether its record counts, and its dirty stripes (`few`: not half of all)
is() {
  local few=false
  [ "$5" != few ] || few=true
  look "$WORK/$2"
  want "$2, $1: state, record, dirty stripes" "$3 $4 $5" "$(told "const { chunkBytes, memberSizeBytes, record } = raid;
    const isFew = $few && dirtyStripes > 0 && dirtyStripes < memberSizeBytes / chunkBytes / 2;
    [state, record.verdict, isFew ? 'few' : dirtyStripes].join(' ')")"
}
# recovers NAME STRIPES: it makes parity anew for so many
recovers() {
  ends 0 "$1: recover" hf recover "$WORK/$1" --json
  want "$1: stripes resynced" "$2" "$(sed -n 's/.*"resyncedStripes":\([0-9]*\).*/\1/p' "$WORK/said")"
}
