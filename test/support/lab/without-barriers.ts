/** A trace of a volume whose images promise what they do not hold. */
import type { Operation } from '../../../src/crash/trace.js';
import type { StoredTrace } from '../../../src/crash/trace-file/trace-reader.js';

/** As if the images, or those of such names, had never been told to make anything durable, and had said that they did. */
export function withoutBarriers(
  trace: StoredTrace,
  isMeant: (name: string) => boolean = () => true,
): StoredTrace {
  const isOf = ({ device }: Operation) => isMeant(trace.devices[device]!.name);
  const events = trace.events.map((event) => {
    if (event.kind === 'mark' || event.operation.kind === 'flush' || !isOf(event.operation)) return event;
    return { ...event, operation: { ...event.operation, fua: false } };
  });
  return without({ ...trace, events }, (operation) => operation.kind === 'flush' && isOf(operation));
}

/** As if nothing had ever been written to the images of such names. */
export function withoutWrites(trace: StoredTrace, isMeant: (name: string) => boolean): StoredTrace {
  return without(trace, ({ kind, device }) => kind !== 'flush' && isMeant(trace.devices[device]!.name));
}

function without(trace: StoredTrace, isLeftOut: (operation: Operation) => boolean): StoredTrace {
  const isKept = trace.events.map((event) => event.kind === 'mark' || !isLeftOut(event.operation));
  const left = (at: number) => isKept.slice(0, at).filter(Boolean).length;
  return {
    ...trace,
    events: trace.events.filter((_, at) => isKept[at]),
    requests: trace.requests.map((each) => ({ ...each, at: left(each.at) })),
  };
}
