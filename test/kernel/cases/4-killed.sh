# Our writer is killed: the kernel starts the array, resyncs what needs it, and then its check counts 0. Each sector is the
# old or the new one, and nothing that was not being written has changed. Arrays of ours, and the kernel's with an internal
# bitmap and with PPL (which it would trust rather than our record).
size=$((30 * 1048576))
pattern A $size > "$WORK/a"
pattern B $((20 * 1048576)) > "$WORK/b"

for round in 1 2 3; do
  mkdir "$WORK/ours$round.d"
  flags=()
  for slot in 0 1 2 3; do flags+=(--image "$WORK/ours$round.d/$slot"); done
  ends 0 "create ours$round" hf create "$WORK/ours$round" --members 4 --size 30MiB --chunk 64KiB "${flags[@]}" --yes
done
for name in bitmap ppl; do
  mkdir "$WORK/$name"
  blank 14M "$WORK/$name"/{0,1,2,3}.img
  disks $name "$WORK/$name"/[0-3].img
done
disk input "$WORK/a"
boot make

for name in ours1 ours2 ours3 bitmap ppl; do
  case $name in
    ours*) folder=$WORK/$name.d; ends 0 "write $name" hf write "$WORK/$name" --offset 0 --input "$WORK/a" ;;
    *) folder=$WORK/$name ;;
  esac
  first=$(ls "$folder" | head -n 1)
  kill_amid_write "$WORK/$name" "$folder/$first" 4096 "$WORK/a" "$WORK/b"
  disks $name "$folder"/[0-3]*
  blank 40M "$WORK/got-$name"
  disk "got-$name" "$WORK/got-$name"
done
boot judge
for name in ours1 ours2 ours3 bitmap ppl; do
  each_sector "$name: each sector is old or new" "$WORK/a" "$WORK/b" "$WORK/got-$name"
done
