# The kernel between two openings of ours. Our dirty-stripe record counts as long as the kernel only looked; once the kernel
# has written and stopped, the record is void whatever the events say, and there is nothing to do.
size=24MiB bytes=$((24 * 1048576))
pattern A $bytes > "$WORK/a"
pattern B $((4 * 1048576)) > "$WORK/b"
pattern C $((3 * 1048576)) > "$WORK/c"
# the kernel writes C at 12 MiB, far from what we write
at=12
(head -c $((at * 1048576)) "$WORK/a"; cat "$WORK/c"; tail -c +$(((at + 3) * 1048576 + 1)) "$WORK/a") > "$WORK/a+c"
(cat "$WORK/b"; tail -c +$((4 * 1048576 + 1)) "$WORK/a+c") > "$WORK/b+c"
images() { cat "$WORK/$1"/member-[0-3].img | sum; }

# killed, looked and resynced are dirty; returned was, and its dirty records lie there still
for name in killed looked written resynced returned; do make $name $size "$WORK/a"; done
kill_amid_write "$WORK/killed" "$WORK/killed/member-0.img" 4096 "$WORK/a" "$WORK/b"
for name in looked resynced returned; do cut_write "$WORK/$name" "$WORK/a" "$WORK/b"; done
# parity that is wrong far from what the record names: who resyncs what the record names leaves it, who resyncs all does not
for name in looked resynced; do spoil_parity $name 120; done
ends 0 'returned: recover' hf recover "$WORK/returned"
for name in written returned; do is before $name clean valid 0; done
events=$(told raid.events)
for name in killed looked resynced; do
  is before $name dirty valid few
  eval "stripes_$name=$(told dirtyStripes) images_$name=$(images $name)"
done

for name in killed looked; do attach $name; got $name $bytes; done
for name in written resynced returned; do attach $name; done
got resynced $bytes
disk input "$WORK/c"
boot between "EVENTS=$events" "AT=$at"

# ---- looked at: all as before, and just what the record names is resynced
for name in killed looked; do
  eval "dirty=\$stripes_$name before=\$images_$name"
  want "$name: the kernel changed no byte" "$before" "$(images $name)"
  each_sector "$name: the kernel reads old or new" "$WORK/a" "$WORK/b" "$WORK/got-$name"
  is 'looked at' $name dirty valid few
  recovers $name "$dirty"
  ours $name
  each_sector "$name: each sector is old or new" "$WORK/a" "$WORK/b" "$WORK/ours"
done
ends 3 'looked: scrub finds what was spoilt elsewhere' hf scrub "$WORK/looked" --json
want 'looked: and nothing else' 1 "$(sed -n 's/.*"mismatchedStripes":\([0-9]*\).*/\1/p' "$WORK/said")"
ends 0 'looked: repair' hf scrub "$WORK/looked" --repair

# ---- written and stopped: nothing to do, and the kernel's content
for name in written resynced returned; do
  is 'stopped by the kernel' $name clean void 0
  [ $name != returned ] || want 'returned: the very events of our last record' "$events" "$(told raid.events)"
  recovers $name 0
done
want 'written: content' "$(sum "$WORK/a+c")" "$(sum_of "$WORK/written")"
want 'resynced: content as the kernel reads it' "$(sum "$WORK/got-resynced")" "$(sum_of "$WORK/resynced")"
each_sector 'resynced: each sector is old or new' "$WORK/a+c" "$WORK/b+c" "$WORK/got-resynced"

# ---- and on: we write, the record counts again, and the kernel finds nothing to do
sums=()
for name in killed looked written resynced returned; do
  ends 0 "$name: scrub" hf scrub "$WORK/$name"
  ends 0 "$name: write again" hf write "$WORK/$name" --offset 15000000 --input "$WORK/b"
  is 'written again' $name clean valid 0
  sums+=("SUM_$name=$(sum_of "$WORK/$name")")
  attach $name
done
boot judge "${sums[@]}"
