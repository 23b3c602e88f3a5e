# Our writer is cut and a member is gone: status names what is in doubt. What we started without that member and stopped,
# the kernel starts without force, and all but the ranges in doubt is old or new. A new member has bad blocks there for the
# kernel too, until the ranges are written anew.
size=24MiB bytes=$((24 * 1048576))
pattern A $bytes > "$WORK/a"
pattern B $((4 * 1048576)) > "$WORK/b"
pattern C $((8 * 1048576)) > "$WORK/c"

# ranges TEXT: of the last look, `OFFSET LENGTH` in bytes each line
ranges() { told "inDoubt.map(({ offsetBytes, lengthBytes }) => offsetBytes + ' ' + lengthBytes).join('\n')"; }
# beside FILE: puts A over the ranges in doubt of a file, so that they are not looked at
beside() {
  local offset length
  while read -r offset length; do
    dd if="$WORK/a" of="$1" bs=512 skip=$((offset / 512)) seek=$((offset / 512)) count=$((length / 512)) conv=notrunc status=none
  done < "$WORK/ranges"
}

make volume $size "$WORK/a"
cut_write "$WORK/volume" "$WORK/a" "$WORK/b"
stripes=$(told dirtyStripes)
mv "$WORK/volume/member-1.img" "$WORK/gone"
ends 4 'status without a member' hf status "$WORK/volume"
is 'without a member' volume dirty-degraded valid "$stripes"
ranges > "$WORK/ranges"
first=$(head -n 1 "$WORK/ranges" | cut -d' ' -f1)
# of each stripe in doubt at most one chunk, and none where the missing member held the parity (one of four)
want 'status names few bytes in doubt' true "$(told "inDoubt.length > 0 && inDoubt.reduce((sum, { lengthBytes }) => sum + lengthBytes, 0) <= dirtyStripes * raid.chunkBytes")"
ends 1 'write without force' hf write "$WORK/volume" --offset 12MiB --input "$WORK/c"
ends 0 'recover --force' hf recover "$WORK/volume" --force
ends 4 'status still says that it is in doubt' hf status "$WORK/volume"
look "$WORK/volume"
want 'the same ranges are in doubt' "$(cat "$WORK/ranges")" "$(ranges)"
ends 1 'a read in doubt' hf read "$WORK/volume" --offset "$first" --length 512 --output "$WORK/ours"
disks volume "$WORK/volume"/member-[023].img
got volume $bytes
boot degraded
beside "$WORK/got-volume"
each_sector 'the kernel reads old or new beside the doubt' "$WORK/a" "$WORK/b" "$WORK/got-volume"
look "$WORK/volume"
want 'in doubt as before, after the kernel has looked' "$(cat "$WORK/ranges")" "$(ranges)"

# ---- rebuilt: the doubt is in the new member's log of bad blocks, which the kernel reads as we do
ends 0 'add a member' hf member add "$WORK/volume" --image "$WORK/volume/new.img" --yes
look "$WORK/volume"
want 'in doubt as before, after the rebuild' "$(cat "$WORK/ranges")" "$(ranges)"
ends 1 'a read in doubt after the rebuild' hf read "$WORK/volume" --offset "$first" --length 512 --output "$WORK/ours"
disks volume "$WORK/volume"/member-0.img "$WORK/volume/new.img" "$WORK/volume"/member-[23].img
got volume $bytes
boot rebuilt "FIRST=$((first / 512))"
beside "$WORK/got-volume"
each_sector 'the kernel reads old or new beside the bad blocks' "$WORK/a" "$WORK/b" "$WORK/got-volume"

# ---- written anew, and what a stream marks ahead too
ends 0 'write the ranges anew' hf write "$WORK/volume" --offset 0 --input "$WORK/c"
is 'written anew' volume clean valid 0
want 'nothing is in doubt' '' "$(ranges)"
ends 0 'scrub' hf scrub "$WORK/volume"
(cat "$WORK/c"; tail -c +$((8 * 1048576 + 1)) "$WORK/a") > "$WORK/c+a"
want 'content' "$(sum "$WORK/c+a")" "$(sum_of "$WORK/volume")"
disks volume "$WORK/volume"/member-0.img "$WORK/volume/new.img" "$WORK/volume"/member-[23].img
boot judge "SUM=$(sum "$WORK/c+a")"
