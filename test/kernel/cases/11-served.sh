# A served volume is the kernel's disk (qemu is the NBD client): an ext4 is made, written, trimmed and synced. Then the power
# of the machine goes and the server is killed, both amid writes. After recover the kernel finds all that it had synced; it
# goes on with a member failed; in the end e2fsck finds nothing wrong with what we read, and scrub counts 0.
server=
trap '[ -z "$server" ] || kill -9 "$server" 2> /dev/null || true' EXIT
tool() { "$KERNEL_CACHE/tools/lib/ld-linux-x86-64.so.2" --library-path "$KERNEL_CACHE/tools/lib" "$KERNEL_CACHE/tools/$1" "${@:2}"; }
serve() {
  rm -f "$WORK/pid"
  node "$RUN_JS" serve "$WORK/served" --socket "$WORK/nbd.sock" --pid-file "$WORK/pid" > "$WORK/serve.log" 2>&1 &
  server=$!
  when "$server" test -s "$WORK/pid" || { bad 'serve'; cat "$WORK/serve.log"; }
}
# ended STATUS TEXT SIGNAL: the server is sent the signal, and ends as it should.
ended() {
  local status=0
  kill "-$3" "$server"
  wait "$server" || status=$?
  server=
  want "$2" "$1" "$status"
}

# Files of the guest's: NAME:FIRST-KIB:KIB of the input. `gone` ones are deleted by the guest.
synced='a:0:700 b:700:1500 c:2200:3000 d:5200:4 e:5204:2000'
gone='x:100:2500 y:3000:1000'
later='f:1000:3000 g:4000:33'
pattern I $((8 * 1048576)) > "$WORK/input"
sums=()
for file in $synced $later; do
  IFS=: read -r name first count <<< "$file"
  sums+=("SUM_$name=$(dd if="$WORK/input" bs=1k skip="$first" count="$count" status=none | sum)")
done
machine() {
  disk served "nbd+unix:///?socket=$WORK/nbd.sock"
  disk input "$WORK/input"
  boot "$1" "SYNCED=$synced" "GONE=$gone" "LATER=$later" "${sums[@]}"
}

ends 0 'create' hf create "$WORK/served" --members 4 --size 30MiB --chunk 64KiB
serve
CUT_ON='all is synced' machine make
ended 137 'the server is killed' KILL
look "$WORK/served"
want 'killed amid writes: state, record' 'dirty valid' "$(told "state + ' ' + raid.record.verdict")"
ends 0 'recover' hf recover "$WORK/served"
ends 0 'scrub after recover' hf scrub "$WORK/served"

serve
ends 0 'fail a member while it is served' hf member fail "$WORK/served" --slot 2 --yes
machine use
ends 0 'add it again while it is served' hf member add "$WORK/served" --image "$WORK/served/member-2.img" --yes
ended 0 'the server is stopped' TERM

look "$WORK/served"
want 'state, dirty stripes' 'clean 0' "$(told "state + ' ' + dirtyStripes")"
ends 0 'scrub' hf scrub "$WORK/served"
ends 0 'read' hf read "$WORK/served" --output "$WORK/ext4"
ends 0 'e2fsck -fn' tool e2fsck -fn "$WORK/ext4"
for sum in "${sums[@]}"; do
  name=${sum#SUM_}
  name=${name%%=*}
  tool debugfs -R "dump /$name $WORK/dumped" "$WORK/ext4" > /dev/null 2>&1
  want "file $name, as we read it" "${sum#*=}" "$(sum "$WORK/dumped")"
  rm -f "$WORK/dumped"
done
