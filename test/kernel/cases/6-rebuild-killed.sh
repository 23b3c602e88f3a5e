# Our rebuild is killed: the kernel takes the new member as one that is not yet whole, ends the rebuild, and all is right.
size=$((96 * 1048576))
pattern A $size > "$WORK/a"
for name in early late; do
  flags=()
  for slot in 0 1 2 3; do flags+=(--image "$WORK/$name-$slot"); done
  ends 0 "create $name" hf create "$WORK/$name" --members 4 --size 96MiB "${flags[@]}" --yes
  ends 0 "write $name" hf write "$WORK/$name" --offset 0 --input "$WORK/a"
  ends 0 "fail slot 2 of $name" hf member fail "$WORK/$name" --slot 2 --yes
  new=$WORK/$name-new
  node "$RUN_JS" member replace "$WORK/$name" --slot 2 --image "$new" --yes > "$WORK/said" 2>&1 &
  pid=$!
  being_rebuilt() { [ -s "$new" ] && is_rebuilding "$new" 4096; }
  if when "$pid" being_rebuilt; then
    [ $name = early ] || moment 300
    if kill -9 "$pid" 2>/dev/null; then ok "$name: killed amid the rebuild"; else echo "$name: the rebuild had ended"; fi
  else
    bad "$name: the rebuild ended before it was seen"
    cat "$WORK/said"
  fi
  wait "$pid" 2>/dev/null || true
  disks $name "$WORK/$name-0" "$WORK/$name-1" "$WORK/$name-3" "$new"
done
boot judge "SUM=$(sum "$WORK/a")"
