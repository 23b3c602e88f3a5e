/**
 * Traces of devices that are written at random: overlapping writes, fua, trims, flushes in flight, calls that fail.
 * What is in flight at the same time does not overlap, as the contract of devices wants it.
 */
import type { SeededRandom } from '../../../src/crash/seeded-random.js';
import type { Operation, OperationKind, Trace, TraceEvent } from '../../../src/crash/trace.js';

const SECTOR_BYTES = 512;

export interface RandomTraceShape {
  readonly devices: number;
  readonly sectors: number;
  readonly operations: number;
}

export function randomTrace(random: SeededRandom, shape: RandomTraceShape): Trace {
  const events: TraceEvent[] = [];
  const inFlight: Operation[] = [];
  const complete = () => {
    const [operation] = inFlight.splice(random.below(inFlight.length), 1);
    // One that failed has no completion.
    if (!random.chance(0.05)) events.push({ kind: 'complete', operation: operation! });
  };
  for (let number = 0; number < shape.operations; number++) {
    const operation = randomOperation(random, shape, number);
    while (inFlight.some((other) => overlap(other, operation)) || (inFlight.length > 0 && random.chance(0.5)))
      complete();
    inFlight.push(operation);
    events.push({ kind: 'submit', operation });
    if (random.chance(0.1)) events.push({ kind: 'mark', mark: { name: `mark ${number}` } });
  }
  while (inFlight.length > 0) complete();
  const devices = Array.from({ length: shape.devices }, (_, device) => ({
    name: `device-${device}`,
    size: shape.sectors * SECTOR_BYTES,
  }));
  return { devices, events };
}

function randomOperation(
  random: SeededRandom,
  { devices, sectors }: RandomTraceShape,
  number: number,
): Operation {
  const kind = random.pick<OperationKind>(['write', 'write', 'write', 'write-zeroes', 'trim', 'flush']);
  const device = random.below(devices);
  const fua = kind === 'write' && random.chance(0.2);
  if (kind === 'flush') return { number, device, kind, offset: 0, length: 0, bytes: null, fua };
  const first = random.below(sectors);
  const length = SECTOR_BYTES * random.between(1, Math.min(12, sectors - first));
  const bytes = kind === 'write' ? random.bytes(length) : null;
  return { number, device, kind, offset: first * SECTOR_BYTES, length, bytes, fua };
}

function overlap(a: Operation, b: Operation): boolean {
  return a.device === b.device && a.offset < b.offset + b.length && b.offset < a.offset + a.length;
}
