/**
 * An array over memory of which every call to its members is seen, and told apart: records, superblocks, data, parity.
 * Its record writes can be held at the door.
 */
import { setImmediate } from 'node:timers/promises';
import { afterEach } from 'vitest';
import { Recorder } from '../../../../src/crash/recorder.js';
import type { Operation } from '../../../../src/crash/trace.js';
import { bufferList } from '../../../../src/device/buffers.js';
import type { BlockDevice } from '../../../../src/device/contract.js';
import { MemoryDevice } from '../../../../src/device/memory.js';
import { judgeDevices, makeMembers, SMALL, type TestShape } from '../../../../src/lab/self/raid/arrays.js';
import type { RaidArray } from '../../../../src/raid/array.js';
import { setUuidBytes } from '../../../../src/raid/md/uuid.js';
import { type OpenArrayOptions, openArray } from '../../../../src/raid/open.js';
import { decodeRecord, isDamagedRecord, type RecordContent } from '../../../../src/raid/record/codec.js';
import { memberPlace, type RecordPlace, SLOTS } from '../../../../src/raid/record/places.js';
import { UncheckedBytes } from '../../../../src/structure.js';
import { HeldDevice } from '../../../support/devices/held-device.js';

/** 400 stripes of 8 KiB: more than stay listed when they are clean. */
export const MANY: TestShape = { members: 3, chunkBytes: 4096, layout: 2, stripes: 400 };

/** So many members that it takes less to read what is written and the parity than all the rest. */
export const WIDE: TestShape = { members: 6, chunkBytes: 8192, layout: 2, stripes: 12 };

/** Longer than any test: what rests does it when it is told to. */
const NEVER_MS = 2 ** 30;

const opened: RaidArray[] = [];

afterEach(() => {
  for (const array of opened.splice(0)) array.core.closeArena();
});

/** Not closed at the end of the test: a crash. */
export async function openFor(
  devices: readonly BlockDevice[],
  options: Partial<OpenArrayOptions> = {},
): Promise<RaidArray> {
  const array = await openArray(await judgeDevices(devices), {
    name: 'test',
    readOnly: false,
    warn: () => undefined,
    idleMs: NEVER_MS,
    ...options,
  });
  opened.push(array);
  return array;
}

/** Turns of the event loop in which whatever can happen does: what is written ahead nobody waits for. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 40; turn++) await setImmediate();
}

/** One call to a member, in the order in which they begin and end. */
export interface Seen {
  readonly at: 'begun' | 'ended';
  readonly what: 'record' | 'superblock' | 'data' | 'parity' | 'room' | 'flush';
  /** The member's slot. */
  readonly member: number;
  /** Of data and parity. */
  readonly stripes: readonly number[];
  readonly record: RecordContent | null;
  /** Of a record: which of the place's slots. */
  readonly slot: number | null;
}

export const SECTOR = new Uint8Array(512).fill(1);

/** Lets no record through while it is shut. */
export class RecordGate {
  waiting = 0;
  private isShut = false;
  private open: (() => void)[] = [];
  private arrival: (() => void) | null = null;

  shut(): void {
    this.isShut = true;
  }

  release(): void {
    this.isShut = false;
    this.waiting = 0;
    for (const enter of this.open.splice(0)) enter();
  }

  /** Ends when at least so many records wait. */
  async arrived(count: number): Promise<void> {
    while (this.waiting < count) {
      await new Promise<void>((resolve) => {
        this.arrival = resolve;
      });
    }
  }

  async pass(): Promise<void> {
    if (!this.isShut) return;
    await new Promise<void>((enter) => {
      this.waiting += 1;
      this.open.push(enter);
      this.arrival?.();
    });
  }
}

export interface WatchedArray {
  /** What the members stand on. */
  readonly bases: readonly MemoryDevice[];
  /** Between them and what is seen: calls that wait there have begun. */
  readonly held: readonly HeldDevice[];
  readonly array: RaidArray;
  readonly gate: RecordGate;
  /** All that was done, in order. */
  seen(): Seen[];
  /** Of that, what began of one kind. */
  begun(what: Seen['what']): Seen[];
  /** Writes one sector of a stripe: what is needed for its parity has to be read first. */
  touch(stripe: number): Promise<void>;
  /** Writes all of a stripe: nothing has to be read, so that it has its data at once. */
  fill(stripe: number): Promise<void>;
  /** The record with the highest generation. */
  newest(): Promise<RecordContent>;
  /** Numbers of the stripes that it lists. */
  listed(): Promise<number[]>;
  /** The array's bytes of a stripe. */
  offsetOf(stripe: number): number;
  /** Generations that were made durable. */
  readonly generations: number;
}

export async function watchedArray(shape: TestShape = SMALL): Promise<WatchedArray> {
  return watchMembers(await makeMembers(shape));
}

/** The array is active, and nothing is listed that was not listed before. */
export async function watchMembers(bases: readonly MemoryDevice[]): Promise<WatchedArray> {
  const recorder = new Recorder();
  const gate = new RecordGate();
  const places = await placesOf(bases);
  const gated = bases.map((base, index) => gatedDevice(base, places[index]!, gate));
  const held = gated.map((device) => new HeldDevice(device));
  const array = await openFor(held.map((device) => recorder.record(device)));
  await array.metadata.activate();
  const from = recorder.trace.events.length;
  const generationsBefore = recorder.trace.events.length === 0 ? 0 : recordsOf(array).generations;
  const { stripeDataBytes } = array.core.geometry;
  const offsetOf = (stripe: number) => stripe * stripeDataBytes;
  const seen = (): Seen[] =>
    recorder.trace.events.slice(from).flatMap((event) => {
      if (event.kind === 'mark') return [];
      const at = event.kind === 'submit' ? 'begun' : 'ended';
      return [{ at, ...describe(array, event.operation, places) }];
    });
  return {
    bases,
    held,
    array,
    gate,
    seen,
    begun: (what) => seen().filter((call) => call.at === 'begun' && call.what === what),
    offsetOf,
    touch: (stripe) => array.write(offsetOf(stripe), SECTOR),
    fill: (stripe) => array.write(offsetOf(stripe), new Uint8Array(stripeDataBytes).fill(2)),
    newest: () => newestOn(bases),
    listed: async () => stripesOf(await newestOn(bases)),
    get generations() {
      return recordsOf(array).generations - generationsBefore;
    },
  };
}

/** Who keeps the record of an open array. */
export function recordsOf(array: RaidArray): { readonly generations: number } {
  const { followers } = array.metadata as unknown as { followers: readonly { generations?: number }[] };
  const kept = followers.find(({ generations }) => generations !== undefined);
  if (kept === undefined) throw new Error('it keeps no record');
  return kept as { readonly generations: number };
}

export async function placesOf(devices: readonly BlockDevice[]): Promise<RecordPlace[]> {
  const { members } = await judgeDevices(devices);
  return Promise.all(
    devices.map(async (device) => {
      const judged = members.find((member) => member.image === device.name)!;
      const place = await memberPlace(device, judged.superblock!);
      if ('reason' in place) throw new Error(place.reason);
      return place;
    }),
  );
}

/** Every good record on the members, with the member and the slot that it lies in. */
export async function recordsOn(
  devices: readonly BlockDevice[],
): Promise<{ member: number; slot: number; record: RecordContent }[]> {
  const uuid = setUuidBytes((await judgeDevices(devices)).freshest!);
  const found: { member: number; slot: number; record: RecordContent }[] = [];
  for (const [member, place] of (await placesOf(devices)).entries()) {
    for (let slot = 0; slot < SLOTS; slot++) {
      const offset = place.offset + slot * place.slotBytes;
      const bytes = new Uint8Array(place.slotBytes);
      await place.device.read(offset, bytes);
      const record = decodeRecord(new UncheckedBytes(bytes, offset), uuid);
      if (record !== null && !isDamagedRecord(record)) found.push({ member, slot, record });
    }
  }
  return found;
}

/** The one with the highest generation. */
export async function newestOn(devices: readonly BlockDevice[]): Promise<RecordContent> {
  const records = (await recordsOn(devices)).map(({ record }) => record);
  return records.reduce((best, record) => (record.generation > best.generation ? record : best));
}

/** Numbers of the stripes that a record lists. */
export function stripesOf({ dirty }: Pick<RecordContent, 'dirty'>): number[] {
  return dirty.flatMap(({ start, end }) => Array.from({ length: end - start }, (_, index) => start + index));
}

function gatedDevice(base: MemoryDevice, place: RecordPlace, gate: RecordGate): BlockDevice {
  const device = new MemoryDevice(base.size, { name: base.name });
  device.read = (offset, into) => base.read(offset, into);
  device.writeZeroes = (offset, length) => base.writeZeroes(offset, length);
  device.extents = (offset, length) => base.extents(offset, length);
  device.write = async (offset, from) => {
    const isWithin = place.offset <= offset && offset < place.offset + SLOTS * place.slotBytes;
    // Room is made with zeroes.
    if (isWithin && bufferList(from)[0]![0] !== 0) await gate.pass();
    await base.write(offset, from);
  };
  return device;
}

function describe(
  { core }: RaidArray,
  { kind, device: member, offset, length, bytes }: Operation,
  places: readonly RecordPlace[],
): Omit<Seen, 'at'> {
  const nothing = { member, stripes: [], record: null, slot: null };
  if (kind === 'flush') return { ...nothing, what: 'flush' };
  const { superblock } = core.slots[member]!.member!;
  if (offset === superblock.superOffset) return { ...nothing, what: 'superblock' };
  if (offset < superblock.dataOffset) {
    const place = places[member]!;
    const record =
      bytes === null ? null : decodeRecord(new UncheckedBytes(bytes, offset), setUuidBytes(superblock));
    if (record === null || isDamagedRecord(record)) return { ...nothing, what: 'room' };
    return { ...nothing, what: 'record', record, slot: (offset - place.offset) / place.slotBytes };
  }
  const { chunkBytes } = core.geometry;
  const first = Math.floor((offset - superblock.dataOffset) / chunkBytes);
  const last = Math.floor((offset - superblock.dataOffset + length - 1) / chunkBytes);
  const stripes = Array.from({ length: last - first + 1 }, (_, index) => first + index);
  // Runs of several stripes have parity among them: they count as data.
  const isParity = stripes.length === 1 && core.geometry.parityMember(first) === member;
  return { ...nothing, what: isParity ? 'parity' : 'data', stripes };
}
