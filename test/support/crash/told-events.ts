/** Events of a trace as lines that a test can write down. */
import type { TraceEvent } from '../../../src/crash/trace.js';

/** `submit 3: disk 0 write 0+512 fua` */
export function told(events: readonly TraceEvent[]): string[] {
  return events.map((event) => {
    if (event.kind === 'mark') return `mark ${event.mark.name}`;
    const { number, device, kind, offset, length, fua } = event.operation;
    const place = kind === 'flush' ? '' : ` ${offset}+${length}`;
    return `${event.kind} ${number}: disk ${device} ${kind}${place}${fua ? ' fua' : ''}`;
  });
}
