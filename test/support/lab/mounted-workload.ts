/**
 * Programs on an ext4 of the kernel's, on a recorded disk: the scripts that make it, mount it and run them, and that look at what a cut has
 * left. What is on it counts from the mark `made` on. Wants what MountedDisk wants.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'vitest';
import { runHoldfast, runJson } from '../run-holdfast.js';
import { temporaryFolder } from '../temporary-folder.js';

export interface MountedWorkload {
  /** Options of mount. */
  readonly options?: string;
  /** In the shell, in the filesystem: what is there before anything counts. */
  readonly prepare: string;
  /** Then; marks go to descriptor 3. */
  readonly work: string;
  /** Of a filesystem that is sound: `get NAME` has a file of it here, if it is there. */
  readonly check: string;
}

const workload = ({ options = 'defaults', prepare, work }: MountedWorkload) => `set -eu
mkdir mnt
device=$(losetup --find --show "$image")
trap 'cd "$top"; umount mnt || umount -l mnt; losetup -d $device' EXIT
top=$PWD
mke2fs -q -t ext4 -F -E lazy_itable_init=0,lazy_journal_init=0 "$device"
mount -t ext4 -o ${options} "$device" mnt
cd mnt
${prepare}
sync
echo made >&3
${work}
`;

const checker = ({ check }: MountedWorkload) => `[ -n "$mark" ] || exit 0
e2fsck -fy "$image" > "$directory/fsck" 2>&1
[ $? -le 1 ] || { cat "$directory/fsck"; exit 20; }
e2fsck -fn "$image" > "$directory/fsck" 2>&1 || { cat "$directory/fsck"; exit 21; }
cd "$directory"
get() {
  rm -f "$1"
  debugfs -R "dump /$1 $1" "$image" > /dev/null 2>&1
  [ -s "$1" ] || rm -f "$1"
}
${check}
`;

export interface ExploredWorkload {
  readonly exitCode: number;
  readonly kinds: readonly string[];
  readonly output: string;
  readonly states: number;
  readonly checkRuns: number;
}

/** Recorded, then explored as far as so many states. */
export async function exploreWorkload(mounted: MountedWorkload, states: number): Promise<ExploredWorkload> {
  const folder = await temporaryFolder();
  await writeFile(join(folder, 'work.sh'), workload(mounted));
  await writeFile(join(folder, 'check.sh'), checker(mounted));
  const recording = ['--size', '16MiB', '--fuse', '--trace', 'disk.trace', '--', 'sh work.sh'];
  const recorded = await runHoldfast(['crash', 'record', 'disk.img', ...recording], { cwd: folder });
  expect([recorded.exitCode, recorded.stderr]).toEqual([0, '']);
  const limits = ['--max-states', `${states}`, '--max-images-per-cut', '20'];
  const { json, exitCode } = await runJson(
    ['crash', 'explore', 'disk.trace', '--check', 'sh check.sh', ...limits],
    { cwd: folder },
  );
  const result = json.result as unknown as {
    states: number;
    checkRuns: number;
    failures: { kind: string; output: string }[];
  };
  const { failures } = result;
  const output = failures.map((failure) => failure.output).join('');
  return { ...result, exitCode, kinds: failures.map(({ kind }) => kind), output };
}
