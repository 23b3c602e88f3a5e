/**
 * How far long work has come, on standard error: a bar on a terminal, else a line at most every 10 s, so
 * that a log of a rebuild over night can be read. Time is looked at when there is something to tell, so
 * progress holds no timer and never keeps a process alive.
 */
import type { SingleBar } from 'cli-progress';
import { formatRoundedSize } from './sizes.js';

const LINE_EVERY_MS = 10_000;

export interface Progress {
  /** `doneBytes` of the total are done; it may be called as often as is convenient. The total may change. */
  update(doneBytes: number, totalBytes?: number): void;
  /** To be called however the work ended, or the bar stays on the terminal's line. */
  finish(): void;
}

export interface ProgressOptions {
  /** Say nothing at all. */
  readonly quiet?: boolean;
  readonly stream?: NodeJS.WriteStream;
  /** Milliseconds; for tests. */
  readonly now?: () => number;
}

const SILENT: Progress = { update: () => undefined, finish: () => undefined };

export async function startProgress(
  label: string,
  totalBytes: number,
  options: ProgressOptions = {},
): Promise<Progress> {
  const { quiet = false, stream = process.stderr, now = Date.now } = options;
  if (quiet) return SILENT;
  if (stream.isTTY !== true) return new Lines(label, totalBytes, stream, now);
  const { SingleBar } = await import('cli-progress');
  const bar = new SingleBar({
    format: `${label} [{bar}] {percentage}% {sizes} {eta_formatted}`,
    stream,
    barsize: 30,
    barCompleteChar: '#',
    barIncompleteChar: '-',
    clearOnComplete: true,
    // A process that ends at once (the second Ctrl-C) could not give the cursor back.
    hideCursor: false,
    // Signals are the base command's business.
    gracefulExit: false,
  });
  return new Bar(bar, totalBytes);
}

/** Part of the whole in percent, rounded down so that 100 % means done. */
function percent(doneBytes: number, totalBytes: number): number {
  return totalBytes === 0 ? 100 : Math.floor((doneBytes / totalBytes) * 100);
}

function sizes(doneBytes: number, totalBytes: number): string {
  return `${formatRoundedSize(doneBytes)} of ${formatRoundedSize(totalBytes)}`;
}

/** It shows itself with the first update: work that turns out to be none shows nothing. */
class Bar implements Progress {
  constructor(
    readonly bar: SingleBar,
    private totalBytes: number,
  ) {}

  update(doneBytes: number, totalBytes = this.totalBytes): void {
    this.totalBytes = totalBytes;
    const total = Math.max(1, totalBytes);
    const shown = { sizes: sizes(doneBytes, totalBytes) };
    if (this.bar.isActive) this.bar.setTotal(total);
    else this.bar.start(total, doneBytes, shown);
    this.bar.update(doneBytes, shown);
  }

  finish(): void {
    this.bar.stop();
  }
}

class Lines implements Progress {
  #toldAt: number;

  constructor(
    readonly label: string,
    private totalBytes: number,
    readonly stream: NodeJS.WriteStream,
    readonly now: () => number,
  ) {
    this.#toldAt = now();
  }

  update(doneBytes: number, totalBytes = this.totalBytes): void {
    this.totalBytes = totalBytes;
    const now = this.now();
    if (now - this.#toldAt < LINE_EVERY_MS) return;
    this.#toldAt = now;
    const percentage = percent(doneBytes, totalBytes);
    this.stream.write(`${this.label}: ${percentage}% (${sizes(doneBytes, totalBytes)})\n`);
  }

  finish(): void {}
}
