/** Faults of the RAID layer that more than one test plants, each to show that its cuts find it. */
import type { RaidArray } from '../../src/raid/array.js';
import type { WriterPlace } from '../../src/raid/record/record-writer.js';
import type { Ticket } from '../../src/raid/record/stripe-journal.js';

export const nothing = (): Promise<void> => Promise.resolve();

/** What is nobody's business but the record's own. */
interface RecordInside {
  readonly journal: { readonly writing: Set<Ticket>; end(ticket: Ticket): void };
  readonly writer: {
    readonly newestSlot: Map<WriterPlace, number>;
    readonly places: WriterPlace[];
    writeCopies(places: readonly WriterPlace[], bytes: Uint8Array): Promise<void>;
  };
}

export function recordInside({ metadata }: RaidArray): RecordInside {
  const [record] = (metadata.intent as unknown as { intents: readonly RecordInside[] }).intents;
  return record!;
}

/** An entry leaves at its write's completion, not after a flush. */
export function forgetAtOnce(array: RaidArray): void {
  const { journal } = recordInside(array);
  journal.end = (ticket) => void journal.writing.delete(ticket);
}

/** A generation has one copy, on one member after another. */
export function writeOneCopy(array: RaidArray): void {
  const { writer } = recordInside(array);
  const whole = writer.writeCopies.bind(writer);
  let turn = 0;
  writer.writeCopies = (places, bytes) => {
    turn = (turn + 1) % places.length;
    return whole([places[turn]!], bytes);
  };
}

/** The step goes as ever, but flushes nothing. */
export function unflushedDuring({ metadata }: RaidArray, step: 'checkpoint' | 'deactivate'): void {
  const whole: (mayStop?: () => boolean) => Promise<void> = metadata[step].bind(metadata);
  metadata[step] = async (mayStop?: () => boolean) => {
    const flush = metadata.flushMembers.bind(metadata);
    metadata.flushMembers = nothing;
    await whole(mayStop).finally(() => {
      metadata.flushMembers = flush;
    });
  };
}
