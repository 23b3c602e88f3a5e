# Blocks that the kernel noted as bad: we read around them, whatever the member holds there, and what we write over them is
# right for the kernel too.
mkdir "$WORK/set"
blank 14M "$WORK/set"/{0,1,2,3}.img
pattern A $((30 * 1048576)) > "$WORK/a"
disks set "$WORK/set"/[0-3].img
disk input "$WORK/a"
boot make
# the sectors that the guest noted are spoilt: member 1 from sector 1024 of its data, member 2 from 4001, one sector
for spoilt in '1 1024 8' '2 4001 1'; do
  read -r member sector count <<< "$spoilt"
  offset=$(od -An -tu8 -j $((4096 + 128)) -N 8 "$WORK/set/$member.img" | tr -d ' ')
  head -c $((count * 512)) /dev/zero | tr '\0' 'x' | dd of="$WORK/set/$member.img" bs=512 seek=$((offset + sector)) conv=notrunc status=none
done
want 'content is read around the bad blocks' "$(sum "$WORK/a")" "$(sum_of "$WORK/set" 30MiB)"
hf examine "$WORK/set/1.img" > "$WORK/said" 2>&1 || true
if grep -qi 'bad' "$WORK/said"; then ok 'examine shows the bad blocks'; else bad 'examine does not show the bad blocks'; fi

# all is written anew, bad rows too
pattern B $((30 * 1048576)) > "$WORK/b"
ends 0 'write over the bad blocks' hf write "$WORK/set" --offset 0 --input "$WORK/b"
want 'content after the write' "$(sum "$WORK/b")" "$(sum_of "$WORK/set" 30MiB)"
disks set "$WORK/set"/[0-3].img
boot judge "SUM=$(sum "$WORK/b")"
