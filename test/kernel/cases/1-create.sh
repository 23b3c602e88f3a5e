# Arrays made by us, 3 to 8 members, every layout, several chunk sizes: mdadm reads them, the kernel starts them as they
# are and finds their parity right; an ext4 written through us is whole.
number=0
sums=()
for shape in '3 left-asymmetric 4KiB' '4 right-asymmetric 64KiB' '5 left-symmetric 512KiB' '6 right-symmetric 32KiB' '7 parity-first 128KiB' '8 parity-last 1MiB'; do
  read -r count layout chunk <<< "$shape"
  number=$((number + 1))
  images=() flags=()
  for slot in $(seq 0 $((count - 1))); do
    images+=("$WORK/$number-$slot.img")
    flags+=(--image "$WORK/$number-$slot.img")
  done
  ends 0 "create: $shape" hf create "$WORK/volume$number" --members "$count" --size "$((count - 1))0MiB" --chunk "$chunk" --layout "$layout" "${flags[@]}" --yes
  hf read "$WORK/volume$number" --output - > "$WORK/content"
  pattern "$number" "$(stat -c %s "$WORK/content")" > "$WORK/content"
  ends 0 "write: $shape" hf write "$WORK/volume$number" --offset 0 --input "$WORK/content"
  sums+=("SUM_a$number=$(sum "$WORK/content")")
  disks "a$number" "${images[@]}"
done

# the file system is made on the host, so that all its bytes come through us
"$KERNEL_CACHE/tools/lib/ld-linux-x86-64.so.2" --library-path "$KERNEL_CACHE/tools/lib" "$KERNEL_CACHE/tools/mke2fs" \
  -q -t ext4 -d "$KERNEL_TEST" "$WORK/ext4" 16M
ends 0 'create for ext4' hf create "$WORK/files" --members 4 --size 24MiB --image "$WORK/f0" --image "$WORK/f1" --image "$WORK/f2" --image "$WORK/f3" --yes
ends 0 'write ext4' hf write "$WORK/files" --offset 0 --input "$WORK/ext4"
disks files "$WORK"/f[0-3]
boot judge "${sums[@]}" "FILE_SUM=$(sum "$KERNEL_TEST/run")"
