# A member failed, replaced and rebuilt by us; another removed and one added; a hot replacement: the kernel finds all in
# sync and nothing to do.
for name in replaced added; do
  flags=()
  for slot in 0 1 2 3; do flags+=(--image "$WORK/$name-$slot"); done
  ends 0 "create $name" hf create "$WORK/$name" --members 4 --size 24MiB "${flags[@]}" --yes
done
pattern A "$((24 * 1048576))" > "$WORK/content"
for name in replaced added; do ends 0 "write $name" hf write "$WORK/$name" --offset 0 --input "$WORK/content"; done

ends 0 'fail slot 1' hf member fail "$WORK/replaced" --slot 1 --yes
pattern B 5000000 > "$WORK/b"
ends 0 'write while degraded' hf write "$WORK/replaced" --offset 7000000 --input "$WORK/b"
ends 0 'replace slot 1' hf member replace "$WORK/replaced" --slot 1 --image "$WORK/replaced-new" --yes
ends 0 'scrub after the rebuild' hf scrub "$WORK/replaced"
ends 0 'status after the rebuild' hf status "$WORK/replaced"
disks replaced "$WORK/replaced-0" "$WORK/replaced-2" "$WORK/replaced-3" "$WORK/replaced-new"

ends 0 'fail slot 3' hf member fail "$WORK/added" --slot 3 --yes
ends 0 'remove slot 3' hf member remove "$WORK/added" --slot 3 --yes
ends 0 'write while degraded' hf write "$WORK/added" --offset 7000000 --input "$WORK/b"
ends 0 'add a member' hf member add "$WORK/added" --image "$WORK/added-new" --yes
ends 0 'scrub after the rebuild' hf scrub "$WORK/added"
disks added "$WORK/added-0" "$WORK/added-1" "$WORK/added-2" "$WORK/added-new"
boot judge "SUM=$(sum_of "$WORK/replaced")" "SUM_ADDED=$(sum_of "$WORK/added")"
