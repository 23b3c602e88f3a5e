# A member that we failed and then wrote without: whichever of the images the kernel is given, it never takes that member as
# current.
pattern A "$((24 * 1048576))" > "$WORK/a"
pattern B "$((24 * 1048576))" > "$WORK/b"
sums=()
for slot in 0 3; do
  flags=()
  for n in 0 1 2 3; do flags+=(--image "$WORK/s$slot-$n"); done
  ends 0 "create (slot $slot)" hf create "$WORK/s$slot" --members 4 --size 24MiB "${flags[@]}" --yes
  ends 0 "write A (slot $slot)" hf write "$WORK/s$slot" --offset 0 --input "$WORK/a"
  ends 0 "fail slot $slot" hf member fail "$WORK/s$slot" --slot "$slot" --yes
  ends 0 "write B while degraded (slot $slot)" hf write "$WORK/s$slot" --offset 0 --input "$WORK/b"
  sums+=("SUM_s$slot=$(sum_of "$WORK/s$slot")")
  disks "s$slot" "$WORK/s$slot"-[0-3]
done
# the same, with the writer killed: dirty and degraded, and the failed member still not current
flags=()
for n in 0 1 2 3; do flags+=(--image "$WORK/k-$n"); done
ends 0 'create (killed)' hf create "$WORK/k" --members 4 --size 24MiB "${flags[@]}" --yes
ends 0 'write A (killed)' hf write "$WORK/k" --offset 0 --input "$WORK/a"
ends 0 'fail slot 1 (killed)' hf member fail "$WORK/k" --slot 1 --yes
kill_amid_write "$WORK/k" "$WORK/k-0" 4096 "$WORK/a" "$WORK/b"
disks k "$WORK"/k-[0-3]
boot judge "${sums[@]}"
