/**
 * Traces written by hand, in sectors: each sector of a write holds the write's tag in every byte. And what cuts leave
 * of them, as the tags of each device's first sectors.
 */

import { type BaseReader, cutPower, type LeftDevice, putBack } from '../../src/crash/power-cut.js';
import { PROFILES, type ProfileName } from '../../src/crash/profiles.js';
import type { Operation, OperationKind, Trace, TraceEvent } from '../../src/crash/trace.js';
import { MemoryDevice } from '../../src/device/memory.js';
import { readAt } from '../conformance/block-device.js';

export const SECTOR = 512;
const DEVICE_BYTES = 64 * SECTOR;
/** What was there before the trace. */
export const BASE = 9;
/** What the device holds when what the cut leaves is put onto it: it stays where no write of the trace came. */
export const UNTOUCHED = 8;

interface WriteShape {
  readonly device?: number;
  /** In sectors. */
  readonly at?: number;
  readonly sectors?: number;
  readonly fua?: boolean;
}

export class HandWrittenTrace implements Trace {
  readonly events: TraceEvent[] = [];
  readonly devices: readonly { name: string; size: number }[];
  #operations = 0;

  constructor(devices = 1) {
    this.devices = Array.from({ length: devices }, (_, i) => ({ name: `disk-${i}`, size: DEVICE_BYTES }));
  }

  /** The next event is this one: a cut at it comes before what is done next. */
  get now(): number {
    return this.events.length;
  }

  submit(tag: number, { device = 0, at = 0, sectors = 1, fua = false }: WriteShape = {}): Operation {
    const bytes = new Uint8Array(sectors * SECTOR).fill(tag);
    return this.#submit('write', device, at * SECTOR, bytes.byteLength, bytes, fua);
  }

  submitZeroes(
    kind: 'trim' | 'write-zeroes',
    { device = 0, at = 0, sectors = 1 }: WriteShape = {},
  ): Operation {
    return this.#submit(kind, device, at * SECTOR, sectors * SECTOR, null, false);
  }

  submitFlush(device = 0): Operation {
    return this.#submit('flush', device, 0, 0, null, false);
  }

  complete(operation: Operation): void {
    this.events.push({ kind: 'complete', operation });
  }

  /** Submitted and completed. */
  write(tag: number, shape: WriteShape = {}): Operation {
    const operation = this.submit(tag, shape);
    this.complete(operation);
    return operation;
  }

  flush(device = 0): void {
    this.complete(this.submitFlush(device));
  }

  #submit(
    kind: OperationKind,
    device: number,
    offset: number,
    length: number,
    bytes: Uint8Array | null,
    fua: boolean,
  ): Operation {
    const operation = { number: this.#operations++, device, kind, offset, length, bytes, fua };
    this.events.push({ kind: 'submit', operation });
    return operation;
  }
}

export const baseOfTag = (tag: number): BaseReader => ({
  pieces: (offset, length) => [{ offset, length, bytes: new Uint8Array(length).fill(tag) }],
});

/** The tags of the first `sectors` sectors of a device, which holds something else until the cut is put back onto it. */
export async function tagsLeft(left: LeftDevice, sectors: number): Promise<number[]> {
  const device = new MemoryDevice(DEVICE_BYTES);
  await device.write(0, new Uint8Array(DEVICE_BYTES).fill(UNTOUCHED));
  await putBack(device, left, baseOfTag(BASE));
  const bytes = await readAt(device, 0, sectors * SECTOR);
  return Array.from({ length: sectors }, (_, i) => {
    const sector = bytes.subarray(i * SECTOR, (i + 1) * SECTOR);
    return sector.every((byte) => byte === sector[0]) ? sector[0]! : Number.NaN;
  });
}

export interface Looking {
  /** Default: after the last event. */
  readonly atEvent?: number;
  readonly profile?: ProfileName;
  /** Of each device. */
  readonly sectors?: number;
  readonly seeds?: number;
}

/** All that many cuts leave, sorted: the tags of each device's sectors, devices parted by a bar. */
export async function allLeft(trace: Trace, looking: Looking = {}): Promise<string[]> {
  const { atEvent = trace.events.length, profile = 'sector-512', sectors = 1, seeds = 300 } = looking;
  const seen = new Set<string>();
  for (let seed = 0; seed < seeds; seed++) {
    const { devices } = cutPower(trace, { atEvent, profile: PROFILES[profile], seed });
    const tags = await Promise.all(devices.map((left) => tagsLeft(left, sectors)));
    seen.add(tags.map((each) => each.join(',')).join(' | '));
  }
  return [...seen].sort();
}
