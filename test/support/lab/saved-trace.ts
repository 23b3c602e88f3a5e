/** A trace of a volume, with what it has for its check, as a file: one that was changed in memory (without-barriers.ts) is then one for commands. */
import type { Operation } from '../../../src/crash/trace.js';
import type { StoredTrace } from '../../../src/crash/trace-file/trace-reader.js';
import { TraceWriter } from '../../../src/crash/trace-file/trace-writer.js';

const PAGE_BYTES = 4096;

export async function savedTrace(trace: StoredTrace, path: string): Promise<string> {
  const { devices, volume, requests, events } = trace;
  const writer = await TraceWriter.create(path, { command: trace.command });
  writer.volume(volume!.named);
  for (const [file, bytes] of volume!.files) writer.file(file, bytes);
  for (const [at, device] of devices.entries()) {
    writer.device(device);
    for (const version of device.versions ?? []) writer.version(at, version);
    for (const [page, bytes] of trace.base(at))
      writer.base(
        at,
        page * PAGE_BYTES,
        bytes.subarray(0, Math.min(PAGE_BYTES, device.size - page * PAGE_BYTES)),
      );
  }
  for (const disk of volume!.disks) writer.disk(disk);
  const numbers = new Map<number, Operation>();
  let told = 0;
  for (let at = 0; at <= events.length; at++) {
    for (; told < requests.length && requests[told]!.at <= at; told++) writer.request(requests[told]!);
    const event = events[at];
    if (event === undefined) break;
    if (event.kind === 'submit')
      numbers.set(event.operation.number, { ...event.operation, number: numbers.size });
    writer.event(
      event.kind === 'mark' ? event : { ...event, operation: numbers.get(event.operation.number)! },
    );
  }
  await writer.close();
  return path;
}
