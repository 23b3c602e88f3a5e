/**
 * Finds writers that go through the array in order, and marks stripes ahead of them, twice as many each time: so a
 * stream pays few records, however long it is. What is marked and not written is clean, and only work after a crash.
 */
import type { Range } from '../../device/range-set.js';

const STREAMS = 4;

interface Stream {
  /** The stripe that its next write begins in, or the last that it was in. */
  next: number;
  /** How many stripes were marked ahead the last time. */
  window: number;
  markedTo: number;
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
    const stream = at < 0 ? { next: end, window: 0, markedTo: end } : this.streams.splice(at, 1)[0]!;
    if (at >= 0) this.extend(stream, start, end);
    this.streams.push(stream);
    if (this.streams.length > STREAMS) this.streams.shift();
  }

  /** Small writes of one stripe after another are a stream when they come to the next stripe. */
  private extend(stream: Stream, start: number, end: number): void {
    const advanced = end > stream.next;
    stream.next = Math.max(stream.next, end);
    if (!advanced || stream.markedTo - stream.next >= stream.window / 2) return;
    stream.window = Math.min(this.maxAhead, Math.max(end - start, stream.window * 2));
    stream.markedTo = Math.min(this.stripes, stream.next + stream.window);
  }

  /** Stripes that streams will come to. */
  ahead(): Range[] {
    return this.streams.flatMap(({ next, markedTo }) =>
      markedTo > next ? [{ start: next, end: markedTo }] : [],
    );
  }

  reset(): void {
    this.streams = [];
  }
}
