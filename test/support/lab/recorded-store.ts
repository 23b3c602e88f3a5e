/**
 * A small store on a disk, recorded: for each letter of a text three blocks of it at a place of its own, then the letter in the first
 * sector, which says that it counts, then a mark. With and without the flush between the two. And its check, for the shell.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Recorder } from '../../../src/crash/recorder.js';
import { TraceWriter } from '../../../src/crash/trace-file/trace-writer.js';
import { MemoryDevice } from '../../../src/device/memory.js';
import { temporaryFolder } from '../temporary-folder.js';

export const DISK_BYTES = 2 * 1024 * 1024;
export const BLOCKS_BYTES = 3 * 4096;
/** What the disk held before, and must hold always. */
export const BEFORE = { offset: 1024 * 1024, length: 8192, value: 0x2b };

export interface Store {
  readonly letters: string;
  /** Whether the blocks are durable before the letter counts. */
  readonly flushesBlocks?: boolean;
  /** Whether the letter is durable before it is said to be. */
  readonly flushesLetter?: boolean;
  /** Each letter is in a frame of its own of the trace's file. */
  readonly isSlow?: boolean;
}

const CHECK = `set -eu
v=$(head -c 1 "$image" | tr -d '\\0')
owed=$(tail -n 1 "$marks")
[ "$(tail -c +${BEFORE.offset + 1} "$image" | head -c ${BEFORE.length} | tr -d '+' | wc -c)" = 0 ] || exit 9
if [ -n "$v" ]; then
  code=$(printf %d "'$v")
  left=$(tail -c +$((code * ${BLOCKS_BYTES} + 1)) "$image" | head -c ${BLOCKS_BYTES} | tr -d "$v" | wc -c)
  [ "$left" = 0 ] || { echo "letter $v is torn"; exit 3; }
fi
[ -z "$owed" ] || [ "$(printf '%s\\n%s\\n' "$owed" "$v" | sort | head -n 1)" = "$owed" ] || { echo "$owed is lost"; exit 5; }
`;

async function frameIsWritten(writer: TraceWriter): Promise<void> {
  const before = writer.bytes;
  while (writer.bytes === before) await sleep(10);
}

/** The trace and the check, in a folder of their own. */
export async function recordedStore(store: Store): Promise<{
  readonly folder: string;
  readonly trace: string;
  /** A command. */
  readonly check: string;
}> {
  const { letters, flushesBlocks = true, flushesLetter = true, isSlow = false } = store;
  const folder = await temporaryFolder();
  const trace = join(folder, 'disk.trace');
  const script = join(folder, 'check.sh');
  await writeFile(script, CHECK);
  const writer = await TraceWriter.create(trace, { command: ['store', letters] });
  const recorder = new Recorder({ onEvent: (event) => writer.event(event) });
  const memory = new MemoryDevice(DISK_BYTES, { name: 'disk' });
  const before = Buffer.alloc(BEFORE.length, BEFORE.value);
  await memory.write(BEFORE.offset, before);
  writer.device(memory);
  writer.base(0, BEFORE.offset, before);
  const disk = recorder.record(memory);
  for (const letter of letters) {
    const at = letter.charCodeAt(0) * BLOCKS_BYTES;
    const blocks = [0, 1, 2].map((block) => disk.write(at + block * 4096, Buffer.alloc(4096, letter)));
    await Promise.all(blocks);
    if (flushesBlocks) await disk.flush();
    await disk.write(0, Buffer.alloc(512, letter));
    if (flushesLetter) await disk.flush();
    recorder.mark(letter);
    if (isSlow) await frameIsWritten(writer);
  }
  await writer.close();
  return { folder, trace, check: `sh "${script}"` };
}
