/**
 * What a recording says is owed: each mark has with it what was owed from then on, and one whose name ends with "answered"
 * is a promise.
 */
import type { Subject } from '../../crash/explorer-subject.js';
import type { Trace } from '../../crash/trace.js';

export function markedPromises<Owed>(
  trace: Trace,
): Pick<Subject<unknown, Owed>, 'trace' | 'isPromise' | 'obligations'> {
  const owed = trace.events.map((event) => (event.kind === 'mark' ? (event.mark.detail as Owed) : null));
  return {
    trace,
    isPromise: ({ name }) => name.endsWith('answered'),
    obligations: (cut) => owed.slice(0, cut).findLast((each) => each !== null) ?? owed[0]!,
  };
}
