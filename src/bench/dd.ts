/**
 * dd, the peer of whatever reads or writes members from end to end. Several of them run at once, a process each,
 * and are started anew every round: what that takes is in the time, and is small beside what is moved.
 */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { Sample } from './bench.js';
import { DATA_OFFSET_BYTES, MIB } from './bench-array.js';
import { DeviceTally, measured } from './counting-device.js';

const execute = promisify(execFile);
/** What all of them are given: large blocks, and no message that depends on the language. */
const ENVIRONMENT = { ...process.env, LC_ALL: 'C' };

/** Reads the data area of `from` to its end, `bytes` of whole MiB, and makes it durable in `to` where there is one. */
export interface Copy {
  readonly from: string;
  /** An existing file, as large. Absent: /dev/null. */
  readonly to?: string;
  readonly bytes: number;
}

/** Why there is no dd, in words; null: there is one. */
export async function whyNoDd(): Promise<string | null> {
  try {
    await execute('dd', ['if=/dev/null', 'of=/dev/null']);
    return null;
  } catch (error) {
    return `dd cannot be run: ${error instanceof Error ? error.message : String(error)}`;
  }
}

/** All copies at once; reads and writes are counted from what each dd says that it did. */
export async function runDd(copies: readonly Copy[]): Promise<Sample> {
  const tally = new DeviceTally();
  return measured(tally, () => Promise.all(copies.map((copy) => runOne(copy, tally))));
}

async function runOne({ from, to, bytes }: Copy, tally: DeviceTally): Promise<void> {
  const skipped = DATA_OFFSET_BYTES / MIB;
  const output =
    to === undefined ? ['of=/dev/null'] : [`of=${to}`, `seek=${skipped}`, 'conv=notrunc,fdatasync'];
  const operands = [`if=${from}`, `skip=${skipped}`, `count=${bytes / MIB}`, `bs=${MIB}`, ...output];
  const { stderr } = await execute('dd', operands, { env: ENVIRONMENT });
  const records = (way: string): number =>
    Number(new RegExp(`^(\\d+)\\+0 records ${way}$`, 'm').exec(stderr)?.[1]);
  if (records('in') !== bytes / MIB || records('out') !== bytes / MIB)
    throw new Error(`dd ${operands.join(' ')} did not move ${bytes} bytes: ${stderr}`);
  for (let at = 0; at < bytes; at += MIB) {
    tally.read(MIB);
    if (to !== undefined) tally.write(MIB);
  }
  if (to !== undefined) tally.flush();
}
