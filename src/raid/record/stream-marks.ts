/**
 * Finds writers that go through the array in order, and marks stripes ahead of them, twice as many each time: so a
 * stream pays few records, however long it is. What is marked and not written is clean, and only work after a crash.
 */
import type { Range } from '../../device/range-set.js';

const STREAMS = 4;
/** Writes at random come to the next stripe too, once in a while: so often in a row they do not. */
const PROVEN_ADVANCES = 3;

interface Stream {
  /** The stripe that its next write begins in, or the last that it was in. */
  next: number;
  /** How many stripes were marked ahead the last time. */
  window: number;
  markedTo: number;
  /** How often it came to stripes that it had not been in. */
  advances: number;
}

export class StreamMarks {
  /** The one that was used last comes last. */
  private streams: Stream[] = [];

  constructor(
    private readonly maxAhead: number,
    private readonly stripes: number,
  ) {}

  /** A write of [start, end) begins. */
  note(start: number, end: number): void {
    const at = this.streams.findIndex(({ next }) => start === next || (start === next - 1 && end > next - 1));
    const stream =
      at < 0 ? { next: end, window: 0, markedTo: end, advances: 0 } : this.streams.splice(at, 1)[0]!;
    if (at >= 0) this.extend(stream, start, end);
    this.streams.push(stream);
    if (this.streams.length > STREAMS) this.streams.shift();
  }

  /** Small writes of one stripe after another are a stream when they come to the next stripe. */
  private extend(stream: Stream, start: number, end: number): void {
    const advanced = end > stream.next;
    stream.next = Math.max(stream.next, end);
    if (advanced) stream.advances += 1;
    if (!advanced || stream.markedTo - stream.next >= stream.window / 2) return;
    stream.window = Math.min(this.maxAhead, Math.max(end - start, stream.window * 2));
    stream.markedTo = Math.min(this.stripes, stream.next + stream.window);
  }

  /** Stripes that streams will come to. */
  ahead(): Range[] {
    return this.marked(0);
  }

  /** Those that it is worth to write a record for before they come to them. */
  provenAhead(): Range[] {
    return this.marked(PROVEN_ADVANCES);
  }

  private marked(advances: number): Range[] {
    return this.streams.flatMap((stream) =>
      stream.markedTo > stream.next && stream.advances >= advances
        ? [{ start: stream.next, end: stream.markedTo }]
        : [],
    );
  }

  reset(): void {
    this.streams = [];
  }
}
