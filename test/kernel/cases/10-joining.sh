# Our `member add` is cut or killed at moments that the seed chooses: the kernel, given all images, never takes the new one as
# in-sync unless its rebuild had ended, and in the end all is right. And so do we.
bytes=$((24 * 1048576))
pattern A $bytes > "$WORK/a"
make base 24MiB "$WORK/a"
ends 0 'fail slot 2' hf member fail "$WORK/base" --slot 2 --yes
ends 0 'remove slot 2' hf member remove "$WORK/base" --slot 2 --yes
rm -f "$WORK/base/member-2.img"
pattern B 5000000 > "$WORK/b"
ends 0 'write while degraded' hf write "$WORK/base" --offset 0 --input "$WORK/b"
(cat "$WORK/b"; tail -c +5000001 "$WORK/a") > "$WORK/content"

rounds='1 2 3 4 5 6'
for round in $rounds; do
  name=r$round
  cp -r "$WORK/base" "$WORK/$name"
  new=$WORK/$name/new.img
  if [ $round -le 4 ]; then
    status=0
    hf crash inject --seed $RANDOM -- member add "$WORK/$name" --image "$new" --yes > "$WORK/said" 2>&1 || status=$?
    want "$name: the power was cut" 75 $status
    [ $status = 75 ] || cat "$WORK/said"
    head -n 1 "$WORK/said"
  else
    node "$RUN_JS" member add "$WORK/$name" --image "$new" --yes > "$WORK/said" 2>&1 &
    pid=$!
    when "$pid" test -s "$new" || bad "$name: it was done before it was seen"
    moment 120
    kill -9 "$pid" 2> /dev/null || echo "$name: it had ended"
    wait "$pid" 2> /dev/null || true
  fi
  # what it says of itself: in-sync means that its rebuild had ended
  look "$WORK/$name"
  ours=$(told "members.some(({ image, state }) => image?.endsWith('new.img') && state === 'in-sync')")
  echo "$name: in-sync for us: $ours, state $(told state)"
  sums="${sums:-} OURS_$name=$ours"
  disks $name "$WORK/$name"/member-[013].img
  [ ! -s "$new" ] || disk "new-$name" "$new"
  # ours, on a copy: what had begun goes on, what had not is begun again
  cp -r "$WORK/$name" "$WORK/copy"
  ends 0 "$name: recover" hf recover "$WORK/copy"
  want "$name: content for us" "$(sum "$WORK/content")" "$(sum_of "$WORK/copy")"
  look "$WORK/copy"
  [ "$(told state)" = clean ] || ends 0 "$name: add it again" hf member add "$WORK/copy" --image "$WORK/copy/new.img" --force --yes
  ends 0 "$name: scrub" hf scrub "$WORK/copy"
  rm -r "$WORK/copy"
done
boot judge "SUM=$(sum "$WORK/content")" "ROUNDS=$rounds" $sums
