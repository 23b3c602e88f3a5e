/** A volume, recorded by the command while qemu-io writes to it: each write is answered before the next, and all are flushed at last. */
import { join } from 'node:path';
import { runHoldfast } from '../run-holdfast.js';
import { temporaryFolder } from '../temporary-folder.js';

export interface RecordedVolume {
  readonly folder: string;
  readonly volume: string;
  readonly trace: string;
}

/** `create`: of `holdfast create`, and what is made in it then. */
export async function recordedVolume(
  create: readonly string[],
  writes: readonly string[],
  before: (volume: string) => Promise<void> = async () => undefined,
): Promise<RecordedVolume> {
  const folder = await temporaryFolder();
  const [volume, trace] = [join(folder, 'v'), join(folder, 'v.trace')];
  await succeed(['create', volume, ...create]);
  await before(volume);
  const commands = writes.map((write) => `-c '${write}'`).join(' ');
  await succeed([
    'crash',
    'record',
    volume,
    '--trace',
    trace,
    '--',
    `qemu-io -t writeback -f raw ${commands} "$uri"`,
  ]);
  return { folder, volume, trace };
}

export async function succeed(args: readonly string[]): Promise<void> {
  const { exitCode, stderr } = await runHoldfast([...args]);
  if (exitCode !== 0) throw new Error(`${args.join(' ')}: ${stderr}`);
}
