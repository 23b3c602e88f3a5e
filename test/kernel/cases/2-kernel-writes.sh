# The kernel writes to arrays of ours: we read the same, scrub finds nothing, and what the kernel's crash leaves is judged.
for name in plain failed; do
  flags=()
  for slot in 0 1 2 3; do flags+=(--image "$WORK/$name-$slot"); done
  ends 0 "create $name" hf create "$WORK/$name" --members 4 --size 24MiB "${flags[@]}" --yes
  pattern A "$((24 * 1048576))" > "$WORK/a"
  ends 0 "write $name" hf write "$WORK/$name" --offset 0 --input "$WORK/a"
  disks "$name" "$WORK/$name"-[0-3]
done
pattern B "$((8 * 1048576))" > "$WORK/b"
disk input "$WORK/b"
boot write
(cat "$WORK/b"; tail -c +$((8 * 1048576 + 1)) "$WORK/a") > "$WORK/expected"

want 'plain: content after the kernel wrote' "$(sum "$WORK/expected")" "$(sum_of "$WORK/plain" 24MiB)"
ends 0 'plain: scrub' hf scrub "$WORK/plain"
ends 0 'plain: status' hf status "$WORK/plain"
# slot 2 was failed by the kernel before it wrote
want 'failed: content without the stale member' "$(sum "$WORK/expected")" "$(sum_of "$WORK/failed" 24MiB)"
ends 3 'failed: status is degraded' hf status "$WORK/failed"

# and back: we write again to both, the kernel judges
pattern C 3000000 > "$WORK/c"
for name in plain failed; do
  ends 0 "write again: $name" hf write "$WORK/$name" --offset 5000000 --input "$WORK/c"
  disks "$name" "$WORK/$name"-[0-3]
done
boot judge "SUM=$(sum_of "$WORK/plain")" "SUM_FAILED=$(sum_of "$WORK/failed")"
