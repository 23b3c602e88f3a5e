# The kernel writes between two openings of ours and is cut: our dirty-stripe record is void, whether it says clean or dirty
# and whatever the events say, and all is resynced.
size=24MiB bytes=$((24 * 1048576)) stripes=128
pattern A $bytes > "$WORK/a"
pattern B $((4 * 1048576)) > "$WORK/b"
pattern C $((3 * 1048576)) > "$WORK/c"
# the kernel writes C at 12 MiB, far from what we write
at=12 half=$((12 * 1048576))
(head -c $half "$WORK/a"; cat "$WORK/c"; tail -c +$((half + 3 * 1048576 + 1)) "$WORK/a") > "$WORK/a+c"

make clean $size "$WORK/a"
make dirty $size "$WORK/a"
cut_write "$WORK/dirty" "$WORK/a" "$WORK/b"
is before clean clean valid 0
is before dirty dirty valid few
# older: its images are put back from a copy of them clean; its record, in a file, went on, and is dirty at just the events
# that the kernel will come to
make older $size "$WORK/a" --record "$WORK/older.record"
mkdir "$WORK/copy"
for try in 1 2 3 4 5 6 7 8; do
  look "$WORK/older"
  events=$(($(told raid.events) + 1))
  cp "$WORK/older"/member-[0-3].img "$WORK/copy"
  cut_write "$WORK/older" "$WORK/a" "$WORK/b"
  [ "$(told raid.events)" != $events ] || break
  ends 0 'older: set back' hf write "$WORK/older" --offset 0 --input "$WORK/a"
done
is before older dirty valid few
cp "$WORK/copy"/member-[0-3].img "$WORK/older"

# parity that is wrong far from what any record names: only who resyncs all finds it
for name in clean dirty older; do
  spoil_parity $name 120
  attach $name
done
disk input "$WORK/c"
# one member is slow, so that the others get ahead of it
THROTTLE=d1:100 CUT_ON=cut-now boot cut "AT=$at"

sums=()
for name in clean dirty older; do
  is 'the kernel was cut' $name dirty void $stripes
  [ $name != older ] || want 'older: the very events that its record is of' "$events" "$(told raid.events)"
  recovers $name $stripes
  ends 0 "$name: scrub" hf scrub "$WORK/$name"
  ours $name
  head -c $half "$WORK/ours" > "$WORK/first"
  (head -c $half "$WORK/a"; tail -c +$((half + 1)) "$WORK/ours") > "$WORK/last"
  each_sector "$name: each sector that the kernel wrote is old or new" "$WORK/a" "$WORK/a+c" "$WORK/last"
  if [ $name = dirty ]; then
    head -c $half "$WORK/a" > "$WORK/first-a"
    each_sector "$name: each sector that we wrote is old or new" "$WORK/first-a" "$WORK/b" "$WORK/first"
  else want "$name: nothing else has changed" "$(head -c $half "$WORK/a" | sum)" "$(sum "$WORK/first")"; fi
  ends 0 "$name: write again" hf write "$WORK/$name" --offset 15000000 --input "$WORK/b"
  is 'written again' $name clean valid 0
  sums+=("SUM_$name=$(sum_of "$WORK/$name")")
  attach $name
done
boot judge "${sums[@]}"
