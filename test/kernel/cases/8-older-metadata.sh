# Arrays that the kernel made with metadata 1.0, 1.1 and 0.90: we read and write them, the kernel judges.
pattern A $((30 * 1048576)) > "$WORK/a"
pattern B 9000000 > "$WORK/b"
names='m10 m11 m090'
for name in $names; do
  mkdir "$WORK/$name"
  blank 14M "$WORK/$name"/{0,1,2,3}.img
  disks $name "$WORK/$name"/[0-3].img
done
disk input "$WORK/a"
boot make
sums=()
for name in $names; do
  want "$name: what the kernel wrote" "$(sum "$WORK/a")" "$(sum_of "$WORK/$name" 30MiB)"
  ends 0 "$name: write" hf write "$WORK/$name" --offset 3333333 --input "$WORK/b"
  ends 0 "$name: scrub" hf scrub "$WORK/$name"
  sums+=("SUM_$name=$(sum_of "$WORK/$name")")
  disks $name "$WORK/$name"/[0-3].img
done
boot judge "${sums[@]}"
for name in $names; do
  ends 0 "$name: fail slot 0" hf member fail "$WORK/$name" --slot 0 --yes
  ends 0 "$name: write while degraded" hf write "$WORK/$name" --offset 100000 --input "$WORK/b"
  blank 14M "$WORK/$name-new"
  ends 0 "$name: replace slot 0" hf member replace "$WORK/$name" --slot 0 --image "$WORK/$name-new" --yes
  mv "$WORK/$name-new" "$WORK/$name/0.img"
  disks $name "$WORK/$name"/[0-3].img
done
sums=()
for name in $names; do sums+=("SUM_$name=$(sum_of "$WORK/$name")"); done
boot judge "${sums[@]}"
