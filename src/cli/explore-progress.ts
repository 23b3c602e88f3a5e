/** How far an exploration has come, on standard error: a line that changes on a terminal, else one every 10 s. */
import type { Report } from '../crash/explorer-report.js';

const LINE_EVERY_MS = 10_000;
const CHANGE_EVERY_MS = 100;

export class ExploreProgress {
  #told = 0;
  #isOpen = false;

  constructor(
    private readonly isQuiet: boolean,
    private readonly stream: NodeJS.WriteStream = process.stderr,
  ) {}

  update(report: Report): void {
    if (this.isQuiet) return;
    const { isTTY } = this.stream;
    const now = performance.now();
    if (now - this.#told < (isTTY ? CHANGE_EVERY_MS : LINE_EVERY_MS)) return;
    this.#told = now;
    if (!isTTY) {
      this.stream.write(`${lineOf(report)}\n`);
      return;
    }
    this.stream.write(`\r\u001b[K${lineOf(report)}`);
    this.#isOpen = true;
  }

  finish(): void {
    if (this.#isOpen) this.stream.write('\r\u001b[K');
    this.#isOpen = false;
  }
}

function lineOf({ states, images, equal, cuts, leftBits, seconds, breaches }: Report): string {
  const kinds = Object.entries(breaches).map(([kind, count]) => `${kind}: ${count}`);
  return [
    `${states} states (${Math.round(states / Math.max(seconds, 0.001))}/s), ${images} different, ${equal} equal, ${cuts} cuts`,
    ...(leftBits === null ? [] : [`2^${leftBits.toFixed(1)} left`]),
    ...kinds,
  ].join('; ');
}
