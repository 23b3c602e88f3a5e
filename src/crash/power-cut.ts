/**
 * What a power cut leaves of what was asked of some devices (docs/crash-model.md, word by word):
 *
 * - Durable on a device: writes that completed before the submission of a flush of that device that completed, and
 *   fua writes that completed. A flush orders nothing on another device.
 * - Volatile: every other write that was submitted. Trims and write-zeroes are writes of zeroes.
 * - Each sector holds the newest durable version, or any volatile one that was submitted later; never an older one.
 *
 * This is the plain telling of it, once for each cut. An explorer, which makes many cuts of one trace, keeps up with
 * the events instead, and is held to this.
 */
import type { BlockDevice } from '../device/contract.js';
import { type Range, RangeSet } from '../device/range-set.js';
import type { CrashProfile } from './profiles.js';
import { SeededRandom } from './seeded-random.js';
import { type CutKind, chooseSurvivors } from './survivors.js';
import type { Operation, Trace, TraceEvent } from './trace.js';

/** The writes that were submitted to one device before the cut, each in one of the two lists, as submitted. */
export interface DeviceAtCut {
  readonly durable: readonly Operation[];
  readonly volatile: readonly Operation[];
}

/** Part of a device, and what it holds after the cut. */
export interface LeftPiece {
  /** Bytes. */
  readonly offset: number;
  readonly length: number;
  readonly content: Uint8Array | 'zeroes' | 'base';
}

export interface LeftDevice {
  /** In order, without overlaps: all that any write of the trace touched, also after the cut. */
  readonly pieces: readonly LeftPiece[];
  readonly volatileWrites: number;
  /** Volatile writes of which something is left, be it under later ones. */
  readonly keptWrites: number;
}

export interface PowerCut {
  /** Which way of losing writes was drawn. */
  readonly kind: CutKind;
  readonly devices: readonly LeftDevice[];
}

export interface CutRequest {
  /** The cut comes before this event happens; the number of events: after the last. */
  readonly atEvent: number;
  readonly profile: CrashProfile;
  readonly seed: number;
}

/** What was where before the trace began. */
export interface BaseReader {
  /** The parts of the range whose content is known, in order; `bytes` null: zeroes. What is not known was not touched. */
  pieces(
    offset: number,
    length: number,
  ): Iterable<{ offset: number; length: number; bytes: Uint8Array | null }>;
}

export function isWrite({ kind }: Operation): boolean {
  return kind !== 'flush';
}

/** What is durable and what is volatile when the power goes before event `atEvent`, for each device of the trace. */
export function devicesAtCut(
  trace: Trace,
  { atEvent, profile }: Pick<CutRequest, 'atEvent' | 'profile'>,
): DeviceAtCut[] {
  const followers = trace.devices.map(() => new DeviceFollower(profile.keepsCompleted));
  for (const event of trace.events.slice(0, atEvent)) {
    if (event.kind !== 'mark') followers[event.operation.device]!.follow(event);
  }
  return followers.map((follower) => follower.now());
}

class DeviceFollower {
  readonly #submitted: Operation[] = [];
  readonly #completed = new Set<Operation>();
  readonly #durable = new Set<Operation>();
  /** What each flush in flight will make durable: what had completed when it was submitted. */
  readonly #covers = new Map<Operation, readonly Operation[]>();

  constructor(private readonly keepsCompleted: boolean) {}

  follow({ kind, operation }: Exclude<TraceEvent, { kind: 'mark' }>): void {
    if (kind === 'submit') this.#submit(operation);
    else this.#complete(operation);
  }

  now(): DeviceAtCut {
    const isDurable = (write: Operation): boolean => this.#durable.has(write);
    return {
      durable: this.#submitted.filter(isDurable),
      volatile: this.#submitted.filter((write) => !isDurable(write)),
    };
  }

  #submit(operation: Operation): void {
    if (isWrite(operation)) this.#submitted.push(operation);
    else this.#covers.set(operation, [...this.#completed]);
  }

  #complete(operation: Operation): void {
    if (isWrite(operation)) {
      if (operation.fua || this.keepsCompleted) this.#durable.add(operation);
      else this.#completed.add(operation);
      return;
    }
    for (const write of this.#covers.get(operation) ?? []) {
      this.#durable.add(write);
      this.#completed.delete(write);
    }
    this.#covers.delete(operation);
  }
}

/** What one cut leaves. The same trace and request leave the same. */
export function cutPower(trace: Trace, request: CutRequest): PowerCut {
  const devices = devicesAtCut(trace, request);
  const volatile = devices.flatMap((device) => device.volatile).sort((a, b) => a.number - b.number);
  const { kind, writes } = chooseSurvivors(volatile, request.profile, new SeededRandom(request.seed));
  const touched = touchedRanges(trace);
  return {
    kind,
    devices: devices.map((device, index) => {
      const survivors = writes.filter(({ operation }) => operation.device === index);
      const layers: Layer[] = device.durable.map((operation) => ({ operation, kept: wholeOf(operation) }));
      for (const { operation, kept, noise } of survivors) {
        layers.push({ operation, kept: kept.list(), noise });
      }
      return {
        pieces: newestFirst(layers, touched[index]!),
        volatileWrites: device.volatile.length,
        keptWrites: survivors.length,
      };
    }),
  };
}

/** Puts onto a device what the cut left: it then holds nothing that was written later, or was lost. */
export async function putBack(device: BlockDevice, left: LeftDevice, base: BaseReader): Promise<void> {
  for (const { offset, length, content } of left.pieces) {
    if (content === 'zeroes') await device.writeZeroes(offset, length);
    else if (content !== 'base') await device.write(offset, content);
    else {
      for (const { offset: at, length: size, bytes } of base.pieces(offset, length)) {
        if (bytes === null) await device.writeZeroes(at, size);
        else await device.write(at, bytes);
      }
    }
  }
}

/** What is there of one write: durable, or kept. */
interface Layer {
  readonly operation: Operation;
  readonly kept: readonly Range[];
  readonly noise?: { readonly offset: number; readonly bytes: Uint8Array } | null;
}

function wholeOf({ offset, length }: Operation): Range[] {
  return [{ start: offset, end: offset + length }];
}

function touchedRanges(trace: Trace): RangeSet[] {
  const touched = trace.devices.map(() => new RangeSet());
  for (const event of trace.events) {
    if (event.kind !== 'submit' || !isWrite(event.operation)) continue;
    const { device, offset, length } = event.operation;
    touched[device]!.add(offset, offset + length);
  }
  return touched;
}

/**
 * From the last submitted to the first: where one is, none that was submitted before it shows. So a volatile write
 * comes out over an older durable one, and never over a newer.
 */
function newestFirst(layers: readonly Layer[], touched: RangeSet): LeftPiece[] {
  const taken = new RangeSet();
  const pieces: LeftPiece[] = [];
  const take = ({ start, end }: Range, content: (part: Range) => LeftPiece['content']): void => {
    for (const part of taken.without(start, end)) {
      pieces.push({ offset: part.start, length: part.end - part.start, content: content(part) });
    }
    taken.add(start, end);
  };
  for (const { operation, kept, noise } of [...layers].sort(
    (a, b) => b.operation.number - a.operation.number,
  )) {
    const { bytes, offset } = operation;
    if (noise) {
      const { bytes: garbage, offset: at } = noise;
      take({ start: at, end: at + garbage.byteLength }, ({ start, end }) =>
        garbage.subarray(start - at, end - at),
      );
    }
    for (const range of kept) {
      take(range, ({ start, end }) => bytes?.subarray(start - offset, end - offset) ?? 'zeroes');
    }
  }
  for (const range of touched.list()) take(range, () => 'base');
  return pieces.sort((a, b) => a.offset - b.offset);
}
