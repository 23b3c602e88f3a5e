# Arrays of the kernel's get our dirty-stripe record into the gap before their data: mdadm and the kernel see nothing of it,
# a bitmap that is added or taken away later works, and our record goes out of its way.
pattern A $((30 * 1048576)) > "$WORK/a"
pattern B 9000000 > "$WORK/b"
pattern C $((5 * 1048576)) > "$WORK/c"
# plain and m11 (metadata 1.1) get a bitmap; bitmap loses its own; big gets one as long as md makes them there
names='plain m11 bitmap big'
for name in $names; do
  mkdir "$WORK/$name"
  case $name in big) length=9G ;; *) length=14M ;; esac
  blank $length "$WORK/$name"/{0,1,2,3}.img
done
attach_all() {
  local name
  for name in $names; do disks $name "$WORK/$name"/[0-3].img; done
}
super_of() { case $1 in m11) echo 0 ;; *) echo 4096 ;; esac; }
apart() { # apart NAME TEXT
  local image said
  for image in "$WORK/$1"/[0-3].img; do
    said=$(node "$KERNEL_TEST/record-place.mjs" "$image" "$(super_of "$1")") || { bad "$1, $2: $image: $said"; return 0; }
  done
  ok "$1, $2: nothing overlaps ($said)"
}
# of big only the beginning has content
read_sum() { sum_of "$WORK/$1" 30MiB; }

attach_all
blank 1M "$WORK/notes"
disk notes "$WORK/notes"
disk input "$WORK/a"
boot make
for name in $names; do
  want "$name: what the kernel wrote" "$(sum "$WORK/a")" "$(read_sum $name)"
  ends 0 "$name: write" hf write "$WORK/$name" --offset 3333333 --input "$WORK/b"
  look "$WORK/$name"
  want "$name: a record on the members" 'members valid' "$(told "raid.record.kind + ' ' + raid.record.verdict")"
  apart $name 'first record'
done

sums=()
for name in $names; do sums+=("SUM_$name=$(read_sum $name)"); done
attach_all
disk notes "$WORK/notes"
disk input "$WORK/c"
boot grow "${sums[@]}"
for name in $names; do
  look "$WORK/$name"
  want "$name: void since the kernel wrote" 'clean void 0' "$(told "[state, raid.record.verdict, dirtyStripes].join(' ')")"
  want "$name: consistency" "$([ $name = bitmap ] && echo resync || echo bitmap)" "$(told raid.consistency)"
  [ $name = big ] || ends 0 "$name: scrub" hf scrub "$WORK/$name"
  ends 0 "$name: write after it" hf write "$WORK/$name" --offset 7777777 --input "$WORK/b"
  look "$WORK/$name"
  want "$name: the record counts again" 'clean valid 0' "$(told "[state, raid.record.verdict, dirtyStripes].join(' ')")"
  apart $name 'record beside the bitmap'
done

# ---- cut with both, the record and the kernel's bitmap: the kernel goes by its own, we by ours
hf read "$WORK/plain" --length 30MiB --output "$WORK/old" > /dev/null 2>&1
cut_write "$WORK/plain" "$WORK/old" "$WORK/b"
mkdir "$WORK/ours"
cp "$WORK/plain"/[0-3].img "$WORK/ours"
ends 0 'plain: recover a copy' hf recover "$WORK/ours"
ends 0 'plain: scrub a copy' hf scrub "$WORK/ours"
sums=("SUM_m11=$(read_sum m11)" "SUM_bitmap=$(read_sum bitmap)" "SUM_big=$(read_sum big)")
attach_all
blank 30M "$WORK/got"
disk got "$WORK/got"
boot judge "${sums[@]}"
each_sector 'plain: each sector is old or new' "$WORK/old" "$WORK/b" "$WORK/got"
ends 0 "plain: scrub after the kernel's resync" hf scrub "$WORK/plain"
want 'plain: we read what the kernel reads' "$(sum "$WORK/got")" "$(read_sum plain)"
