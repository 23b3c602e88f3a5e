/** A volume, recorded by the command while qemu-io writes to it: each write is answered before the next, and all are flushed at last. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runHoldfast } from '../run-holdfast.js';
import { temporaryFolder } from '../temporary-folder.js';

export interface RecordedVolume {
  readonly folder: string;
  readonly volume: string;
  readonly trace: string;
}

/** `create`: of `holdfast create`, and what is made in it then. */
export function recordedVolume(
  create: readonly string[],
  writes: readonly string[],
  before?: (volume: string) => Promise<void>,
): Promise<RecordedVolume> {
  return recordedWith(create, qemuIo(writes), before);
}

/** The same with any command. `create`: null, a lone image of 2 MiB. */
export async function recordedWith(
  create: readonly string[] | null,
  command: string | ((volume: string) => string),
  before: (volume: string) => Promise<void> = async () => undefined,
): Promise<RecordedVolume> {
  const folder = await temporaryFolder();
  const [volume, trace] = [join(folder, 'v'), join(folder, 'v.trace')];
  if (create === null) await writeFile(volume, Buffer.alloc(2 * 1024 * 1024));
  else await succeed(['create', volume, ...create]);
  await before(volume);
  const words = typeof command === 'string' ? command : command(volume);
  await succeed(['crash', 'record', volume, '--trace', trace, '--', words]);
  return { folder, volume, trace };
}

/** For a shell: these commands of qemu-io, one after another. */
export function qemuIo(commands: readonly string[]): string {
  return `qemu-io -t writeback -f raw ${commands.map((each) => `-c '${each}'`).join(' ')} "$uri"`;
}

export async function succeed(args: readonly string[]): Promise<void> {
  const { exitCode, stderr } = await runHoldfast([...args]);
  if (exitCode !== 0) throw new Error(`${args.join(' ')}: ${stderr}`);
}
