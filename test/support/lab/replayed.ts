/** What a device holds when all of its trace was done: base and operations, in the order of their completion. */
import type { StoredTrace } from '../../../src/crash/trace-file/trace-reader.js';

const PAGE_BYTES = 4096;

export function baseOf(trace: StoredTrace, index: number): Buffer {
  const content = Buffer.alloc(trace.devices[index]!.size);
  const base = trace.base(index);
  for (let page = 0; page * PAGE_BYTES < content.length; page++) {
    const bytes = base.get(page);
    if (bytes !== undefined)
      content.set(bytes.subarray(0, content.length - page * PAGE_BYTES), page * PAGE_BYTES);
  }
  return content;
}

/** Of a trace without trims: what those leave is not said. */
export function replayed(trace: StoredTrace, index: number): Buffer {
  const content = baseOf(trace, index);
  for (const event of trace.events) {
    if (event.kind !== 'complete' || event.operation.device !== index) continue;
    const { kind, offset, length, bytes } = event.operation;
    if (kind === 'write') content.set(bytes!, offset);
    if (kind === 'write-zeroes') content.fill(0, offset, offset + length);
    if (kind === 'trim') throw new Error('what a trim leaves is not said');
  }
  return content;
}
