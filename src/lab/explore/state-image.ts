/**
 * One device of a state as a file, for programs that want one. It is made once, sparse, and from state to state only those pages are
 * written that differ: what states share is never copied.
 *
 * Invariant: what somebody writes to the file is seen, and is of no effect on later states: the file is then made anew. Seen by the time of
 * its last change, which is set to one that no write leaves behind, and by the time of when that was set, which nobody can set: both are
 * looked at when a command has ended, and once more before the file is changed, since a process that has left the command may go on. Where a
 * file can be written without a trace of that (a mapped file of a tmpfs) it is made anew for each state.
 */
import { type BigIntStats, closeSync, openSync, statSync, utimesSync, writeSync } from 'node:fs';
import { open, rm, statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { StateDevice } from '../../crash/state-device.js';
import { fileError } from '../../device/device-errors.js';

const PAGE_BYTES = 4096;
/** As many as one write takes. */
const MOST_PAGES = 256;
const TMPFS = 0x01021994;
/** Seconds since 1970, long before any write. */
const UNTOUCHED = 1;

export class StateImage {
  /** Pages in which the file differs from what all states began with; null: there is no file. */
  #changed: Set<number> | null = null;
  /** Of the file as it was shown last. */
  #stamp: string | null = null;
  #isRenewed: boolean | null = null;

  constructor(readonly path: string) {}

  /** The file is what the device holds. Throws what writing a file throws (NO_SPACE). */
  async show(device: StateDevice): Promise<void> {
    try {
      await this.#show(device);
    } catch (error) {
      this.#changed = null;
      throw fileError(this.path, 'written', error);
    }
  }

  /** Whether it was written since it was shown; then the next one is a new file. */
  async wasWritten(device: StateDevice): Promise<boolean> {
    const isUntouched = this.#isAsShown(device.size);
    this.#isRenewed ??= (await statfs(dirname(this.path))).type === TMPFS;
    if (!isUntouched || this.#isRenewed) this.#changed = null;
    return !isUntouched;
  }

  #isAsShown(size: number): boolean {
    const found = statSync(this.path, { bigint: true, throwIfNoEntry: false });
    if (found === undefined || this.#stamp === null) return false;
    const { mtimeMs } = found;
    return (
      mtimeMs === BigInt(UNTOUCHED * 1000) && found.size === BigInt(size) && stampOf(found) === this.#stamp
    );
  }

  async #show(device: StateDevice): Promise<void> {
    const { content } = device;
    if (this.#changed !== null && !this.#isAsShown(device.size)) this.#changed = null;
    const before = this.#changed;
    const changed = new Set(content.changedPages());
    const isNew = before === null;
    const pages = isNew ? content.pages() : [...before, ...[...changed].filter((page) => !before.has(page))];
    if (isNew) await makeFile(this.path, device, runsOf(pages));
    else changeFile(this.path, device, runsOf(pages));
    utimesSync(this.path, UNTOUCHED, UNTOUCHED);
    this.#stamp = stampOf(statSync(this.path, { bigint: true }));
    this.#changed = changed;
  }
}

function stampOf({ ino, ctimeNs }: BigIntStats): string {
  return `${ino} ${ctimeNs}`;
}

async function makeFile(path: string, device: StateDevice, runs: Iterable<Run>): Promise<void> {
  await rm(path, { force: true });
  const file = await open(path, 'wx', 0o600);
  try {
    await file.truncate(device.size);
    for (const run of runs) {
      const { offset, bytes } = contentOf(device, run);
      for (let at = 0; at < bytes.length; )
        at += (await file.write(bytes, at, bytes.length - at, offset + at)).bytesWritten;
    }
  } finally {
    await file.close();
  }
}

/** Some pages: to have a thread of the pool do it would take several times as long. */
function changeFile(path: string, device: StateDevice, runs: Iterable<Run>): void {
  const file = openSync(path, 'r+');
  try {
    for (const run of runs) {
      const { offset, bytes } = contentOf(device, run);
      for (let at = 0; at < bytes.length; ) at += writeSync(file, bytes, at, bytes.length - at, offset + at);
    }
  } finally {
    closeSync(file);
  }
}

function contentOf(device: StateDevice, { from, count }: Run): { offset: number; bytes: Uint8Array } {
  const offset = from * PAGE_BYTES;
  const bytes = new Uint8Array(Math.min(count * PAGE_BYTES, device.size - offset));
  device.content.read(offset, bytes);
  return { offset, bytes };
}

/** Pages that lie beside each other. */
interface Run {
  readonly from: number;
  readonly count: number;
}

function* runsOf(pages: Iterable<number>): Generator<Run> {
  let run: { from: number; count: number } | null = null;
  for (const page of [...pages].sort((a, b) => a - b)) {
    if (run !== null && page === run.from + run.count && run.count < MOST_PAGES) run.count += 1;
    else {
      if (run !== null) yield run;
      run = { from: page, count: 1 };
    }
  }
  if (run !== null) yield run;
}
