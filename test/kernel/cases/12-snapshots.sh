# Snapshots of arrays that Linux's md has had in between: what it overwrites is kept nowhere, so they are void, and say so. Where it only
# read, or nobody had it, they hold what they held; also after our own process was killed amid writes, which one command did, or a server.
# Also where we have written nothing to an array before it has a snapshot, and where its metadata are 0.90: md puts event counts back.
server=
trap '[ -z "$server" ] || kill -9 "$server" 2> /dev/null || true' EXIT
size=$((20 * 1048576))
pattern A $size > "$WORK/a"
pattern B $size > "$WORK/b"
pattern K $((2 * 1048576)) > "$WORK/k"

# kill_served NAME: a snapshot is made while it is served, and the server is killed amid writes of a client.
kill_served() {
  local client
  rm -f "$WORK/pid"
  node "$RUN_JS" serve "$WORK/$1" --socket "$WORK/nbd.sock" --pid-file "$WORK/pid" > "$WORK/serve.log" 2>&1 &
  server=$!
  when "$server" test -s "$WORK/pid" || { bad "$1: serve"; cat "$WORK/serve.log"; }
  ends 0 "$1: snapshot while it is served" hf snapshot create "$WORK/$1" --name before
  node "$RUN_JS" write "$WORK/$1" --offset 0 --input "$WORK/b" > "$WORK/said" 2>&1 &
  client=$!
  when "$client" is_active "$WORK/$1/member-0.img" 4096 || bad "$1: no write was seen"
  moment 60
  kill -9 "$server"
  wait "$server" "$client" 2> /dev/null || true
  server=
  look "$WORK/$1"
  want "$1: killed amid writes: state, dirty stripes" 'dirty true' "$(told "state + ' ' + (dirtyStripes > 0)")"
}

for name in bare_written bare_looked old_written old_looked; do
  mkdir "$WORK/$name"
  blank 8M "$WORK/$name"/member-{0,1,2,3}.img
  attach $name
done
disk input "$WORK/a"
boot make
for name in bare_written bare_looked old_written old_looked; do
  ends 0 "$name: snapshot" hf snapshot create "$WORK/$name" --name before
done

for name in written looked killed_written killed_looked killed; do
  make $name 24MiB "$WORK/a"
  ends 0 "$name: snapshot" hf snapshot create "$WORK/$name" --name before
done
for name in killed_written killed_looked killed; do
  kill_amid_write "$WORK/$name" "$WORK/$name/member-0.img" 4096 "$WORK/a" "$WORK/b"
done
for name in served_written served_looked; do
  make $name 24MiB "$WORK/a"
  kill_served $name
done
for name in killed_written killed_looked killed served_written served_looked; do
  want "$name: the list says that it is open" 1 "$(grep -cE '"isOpen": ?true' "$WORK/$name/snapshots/snapshots.json")"
done
for name in written looked killed_written killed_looked served_written served_looked bare_written bare_looked old_written old_looked; do attach $name; done
disk input "$WORK/k"
boot kernel

# held NAME: the snapshot has what the volume held
held() {
  ends 0 "$1: the snapshot is read" hf read "$WORK/$1" --snapshot before --length $size --output "$WORK/held"
  want "$1: it has what the volume held" "$(sum "$WORK/a")" "$(sum "$WORK/held")"
  ends 0 "$1: it is good" hf snapshot list "$WORK/$1"
}
for name in looked killed_looked killed served_looked bare_looked old_looked; do
  held $name
  ends 0 "$name: recover" hf recover "$WORK/$name"
  ends 0 "$name: more is written" hf write "$WORK/$name" --offset 1000000 --input "$WORK/k"
  held $name
done
for name in written killed_written served_written bare_written old_written; do
  ends 3 "$name: snapshot list" hf snapshot list "$WORK/$name"
  want "$name: it says why" 1 "$(grep -c 'somebody else has written to the array' "$WORK/said")"
  ends 1 "$name: the snapshot is refused" hf read "$WORK/$name" --snapshot before --output "$WORK/none"
  ends 0 "$name: a write" hf write "$WORK/$name" --offset 0 --input "$WORK/k"
  want "$name: which says that it is lost" 1 "$(grep -c 'snapshot before is lost' "$WORK/said")"
  ends 3 "$name: and stays so" hf snapshot list "$WORK/$name"
  ends 0 "$name: delete" hf snapshot delete "$WORK/$name" --name before
  ends 0 "$name: a new one" hf snapshot create "$WORK/$name" --name after
  ends 0 "$name: is good" hf snapshot list "$WORK/$name"
  ends 0 "$name: scrub" hf scrub "$WORK/$name"
done
