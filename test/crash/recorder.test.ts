/** The recorder: it is in nobody's way, it writes down exactly what was asked, and nothing gets past it once halted. */
import { setImmediate } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { type BaseReader, cutPower, putBack } from '../../src/crash/power-cut.js';
import { PROFILES } from '../../src/crash/profiles.js';
import { Recorder } from '../../src/crash/recorder.js';
import type { TraceEvent } from '../../src/crash/trace.js';
import type { BlockDevice } from '../../src/device/contract.js';
import { MemoryDevice } from '../../src/device/memory.js';
import {
  describeBlockDevice,
  errorOf,
  expectSame,
  pattern,
  readAt,
  SMALLEST_SIZE,
  type Subject,
} from '../conformance/block-device.js';
import { told } from '../support/crash/told-events.js';
import { FaultyDevice } from '../support/devices/faulty-device.js';
import { HeldDevice } from '../support/devices/held-device.js';
import { withSeed } from '../support/devices/seeded-random.js';
import { VolatileDevice } from '../support/devices/volatile-device.js';

const SIZE = SMALLEST_SIZE + 64 * 1024;
const SECTOR = 512;

describeBlockDevice('RecordedDevice', {
  make: async (): Promise<Subject> => {
    const below = new FaultyDevice(new MemoryDevice(SIZE), { seed: 2, maxDelayTurns: 3 });
    const device = new Recorder().record(below);
    return {
      device,
      cleanup: () => device.close(),
      failNextFlush: () => void below.addRule({ operations: ['flush'], latch: true }),
    };
  },
  supports: { holes: true, failingFlush: false },
});

describeBlockDevice('RecordedDevice that keeps base content and order', {
  make: async (): Promise<Subject> => {
    const below = new VolatileDevice(SIZE, { seed: 3, maxDelayTurns: 3 });
    const device = new Recorder({ keepBase: true, inOrder: true }).record(below);
    return { device, cleanup: () => device.close(), reopen: async () => below.cutPower(1, 'none') };
  },
  supports: { holes: true, durability: true },
});

describe('the trace', () => {
  it('has each operation when it was called and when it ended, over all devices', async () => {
    const recorder = new Recorder();
    const [a, b] = ['a', 'b'].map((name) => recorder.record(new MemoryDevice(SIZE, { name })));
    await a!.write(0, pattern(1024, 1), { fua: true });
    await b!.writeZeroes(512, 512);
    recorder.mark('acknowledged', { bytes: 512 });
    await Promise.all([a!.trim(1024, 512), b!.flush()]);
    await a!.read(0, new Uint8Array(512));
    await a!.extents(0, 512);
    expect(recorder.trace.devices).toEqual(['a', 'b'].map((name) => ({ name, size: SIZE })));
    const { events } = recorder.trace;
    expect(told(events.slice(0, 7))).toEqual([
      'submit 0: disk 0 write 0+1024 fua',
      'complete 0: disk 0 write 0+1024 fua',
      'submit 1: disk 1 write-zeroes 512+512',
      'complete 1: disk 1 write-zeroes 512+512',
      'mark acknowledged',
      'submit 2: disk 0 trim 1024+512',
      'submit 3: disk 1 flush',
    ]);
    expect(told(events.slice(7)).sort()).toEqual([
      'complete 2: disk 0 trim 1024+512',
      'complete 3: disk 1 flush',
    ]);
    expect(events[4]).toEqual({ kind: 'mark', mark: { name: 'acknowledged', detail: { bytes: 512 } } });
  });

  it('holds copies of what was written, and nothing for zeroes', async () => {
    const recorder = new Recorder();
    const device = recorder.record(new MemoryDevice(SIZE));
    const bytes = pattern(1024, 1);
    await device.write(0, [bytes.subarray(0, 100), bytes.subarray(100)]);
    bytes.fill(0xff);
    await device.writeZeroes(0, 512);
    const written = recorder.trace.events.flatMap((event) =>
      event.kind === 'submit' ? [event.operation.bytes] : [],
    );
    expectSame(written[0]!, pattern(1024, 1));
    expect(written[1]).toBeNull();
  });

  it('has no completion of what failed, and nothing of what was refused or empty', async () => {
    const recorder = new Recorder();
    const below = new FaultyDevice(new MemoryDevice(SIZE), { rules: [{ operations: ['write'], nth: 1 }] });
    const device = recorder.record(below);
    await errorOf(device.write(0, pattern(512, 1)));
    await errorOf(device.write(SIZE, pattern(512, 1)));
    await errorOf(device.write(1, pattern(512, 1)));
    await device.write(0, new Uint8Array(0));
    await device.trim(0, 0);
    await device.close();
    await errorOf(device.flush());
    expect(told(recorder.trace.events)).toEqual(['submit 0: disk 0 write 0+512']);
  });

  it('takes what is opened again for the same device, and a read-only one for none', async () => {
    const recorder = new Recorder();
    const memory = (name: string, readOnly = false) => new MemoryDevice(SIZE, { name, readOnly });
    await recorder.record(memory('x'), { identity: 'inode' }).flush();
    await recorder.record(memory('looked-at', true)).flush();
    await recorder.record(memory('y'), { identity: 'inode' }).flush();
    expect(recorder.trace.devices.map(({ name }) => name)).toEqual(['x']);
    expect(told(recorder.trace.events).map((line) => line.slice(-12))).toEqual(
      new Array(4).fill('disk 0 flush'),
    );
  });

  it('has calls end in the order in which they began, where that is asked for, each in its own turn', async () => {
    const recorder = new Recorder({ inOrder: true });
    const below = new HeldDevice(new MemoryDevice(SIZE));
    const device = recorder.record(below);
    below.hold('write');
    const order: string[] = [];
    const first = device.write(0, pattern(512, 1)).then(async () => {
      order.push('write');
      await Promise.resolve();
      order.push('after the write');
    });
    const second = device.flush().then(() => order.push('flush'));
    await setImmediate();
    expect(order).toEqual([]);
    below.release('write');
    await Promise.all([first, second]);
    expect(order).toEqual(['write', 'after the write', 'flush']);
  });

  it('is not kept where nobody wants it: events are told with the memory of their caller', async () => {
    const events: TraceEvent[] = [];
    const recorder = new Recorder({ keepEvents: false, onEvent: (event) => events.push(event) });
    const device = recorder.record(new MemoryDevice(SIZE));
    const [own, parts] = [pattern(SECTOR, 1), [pattern(SECTOR, 2), pattern(SECTOR, 3)]];
    await device.write(0, own);
    await device.write(SECTOR, parts);
    expect(recorder.trace.events).toEqual([]);
    expect(recorder.heldBytes).toBe(0);
    const [first, , second] = events.map((event) => (event.kind === 'mark' ? null : event.operation.bytes));
    expect(first).toBe(own);
    expectSame(second!, Buffer.concat(parts));
  });

  it('sets the pace: an operation that was submitted waits for who is told, and nothing of it is done', async () => {
    const below = new MemoryDevice(SIZE);
    let go = (): void => undefined;
    const pace = () =>
      new Promise<void>((resolve) => {
        go = resolve;
      });
    const recorder = new Recorder({ pace });
    const device = recorder.record(below);
    const writing = device.write(0, pattern(SECTOR, 1));
    await setImmediate();
    expect(told(recorder.trace.events)).toEqual(['submit 0: disk 0 write 0+512']);
    expectSame(await readAt(below, 0, SECTOR), new Uint8Array(SECTOR));
    go();
    await writing;
    expectSame(await readAt(below, 0, SECTOR), pattern(SECTOR, 1));
    expect(recorder.trace.events).toHaveLength(2);
  });

  it('is given up by forget, and events go on being told', async () => {
    let events = 0;
    const recorder = new Recorder({ keepBase: true, onEvent: () => (events += 1) });
    const device = recorder.record(new MemoryDevice(SIZE));
    await device.write(0, pattern(65_536, 1));
    expect(recorder.heldBytes).toBeGreaterThan(65_536);
    recorder.forget();
    await device.write(0, pattern(65_536, 1));
    expect(recorder.trace.events).toEqual([]);
    expect(recorder.heldBytes).toBe(0);
    expect(events).toBe(4);
    expectSame(await readAt(device, 0, 65_536), pattern(65_536, 1));
  });
});

/** What the base has of a range, and 0xee where it has nothing. */
function baseBytes(base: BaseReader, offset: number, length: number): Uint8Array {
  const found = new Uint8Array(length).fill(0xee);
  for (const piece of base.pieces(offset, length)) {
    found.fill(0, piece.offset - offset, piece.offset - offset + piece.length);
    if (piece.bytes !== null) found.set(piece.bytes, piece.offset - offset);
  }
  return found;
}

describe('base content', () => {
  it('is what was there before the first write to each sector', async () => {
    const recorder = new Recorder({ keepBase: true });
    const below = new MemoryDevice(SIZE);
    await below.write(0, pattern(8192, 1));
    const device = recorder.record(below);
    await device.write(1024, pattern(1024, 2));
    await device.write(512, pattern(2048, 3));
    await device.trim(4096, 512);
    const wanted = new Uint8Array(8192).fill(0xee);
    wanted.set(pattern(8192, 1).subarray(512, 2560), 512);
    wanted.set(pattern(8192, 1).subarray(4096, 4608), 4096);
    expectSame(baseBytes(recorder.base(0)!, 0, 8192), wanted);
    expect(new Recorder().base(0)).toBeNull();
  });

  it('is read before the write goes down, and before a second one that overlaps', async () => {
    const recorder = new Recorder({ keepBase: true });
    const below = new HeldDevice(new MemoryDevice(SIZE));
    await below.write(0, pattern(1024, 1));
    const device = recorder.record(below);
    below.hold('read');
    const first = device.write(0, pattern(1024, 2));
    await below.arrived(1);
    const second = device.write(512, pattern(512, 3));
    expect(recorder.trace.events).toHaveLength(2);
    await setImmediate();
    below.release('read');
    await Promise.all([first, second]);
    expectSame(baseBytes(recorder.base(0)!, 0, 1024), pattern(1024, 1));
  });

  it('reads no holes, and costs nothing for zeroes', async () => {
    const recorder = new Recorder({ keepBase: true });
    const below = new FaultyDevice(new MemoryDevice(2 ** 40));
    await below.write(2 ** 39, pattern(4096, 1));
    const device = recorder.record(below);
    await device.writeZeroes(0, 2 ** 40);
    expect(below.counts.readBytes).toBe(4096);
    expectSame(
      baseBytes(recorder.base(0)!, 2 ** 39 - 4096, 12_288),
      Buffer.concat([new Uint8Array(4096), pattern(4096, 1), new Uint8Array(4096)]),
    );
    expect(recorder.heldBytes).toBeLessThan(16_384);
  });

  it('that cannot be read fails the write, which then changes nothing', async () => {
    const recorder = new Recorder({ keepBase: true });
    const memory = new MemoryDevice(SIZE);
    await memory.write(0, pattern(512, 1));
    const device = recorder.record(new FaultyDevice(memory, { rules: [{ operations: ['read'], nth: 1 }] }));
    expect((await errorOf(device.write(0, pattern(512, 2)))).fault.operation).toBe('read');
    expectSame(await readAt(memory, 0, 512), pattern(512, 1));
    await device.write(0, pattern(512, 2));
    expectSame(baseBytes(recorder.base(0)!, 0, 512), pattern(512, 1));
  });

  it('and the trace together give any moment again', async () => {
    await withSeed(async (random) => {
      const recorder = new Recorder({ keepBase: true });
      const below = new MemoryDevice(SIZE);
      await below.write(0, random.bytes(16 * SECTOR));
      const device = recorder.record(below);
      const moments: { event: number; content: Uint8Array }[] = [];
      for (let step = 0; step < 40; step++) {
        moments.push({ event: recorder.trace.events.length, content: await readAt(below, 0, 16 * SECTOR) });
        const at = random.below(16);
        const sectors = random.between(1, 16 - at);
        if (random.chance(0.2)) await device.trim(at * SECTOR, sectors * SECTOR);
        else await device.write(at * SECTOR, random.bytes(sectors * SECTOR));
      }
      // With kill -9 what completed stays, and between two calls all has completed.
      for (const { event, content } of moments.reverse()) {
        const request = { atEvent: event, profile: PROFILES['kill-9'], seed: random.below(1000) };
        await putBack(below, cutPower(recorder.trace, request).devices[0]!, recorder.base(0)!);
        expectSame(await readAt(below, 0, 16 * SECTOR), content, `before event ${event}`);
      }
    });
  });
});

describe('halt', () => {
  /** Whether it ends, given every chance to. */
  async function ends(call: Promise<unknown>): Promise<boolean> {
    let hasEnded = false;
    const note = (): void => {
      hasEnded = true;
    };
    call.then(note, note);
    for (let turn = 0; turn < 20; turn++) await setImmediate();
    return hasEnded;
  }

  it('waits for what is in flight below, answers nobody, and lets nothing more through', async () => {
    const recorder = new Recorder({ keepBase: true });
    const memory = new MemoryDevice(SIZE);
    const below = new HeldDevice(memory);
    const device: BlockDevice = recorder.record(below);
    below.hold('write');
    const writing = device.write(0, pattern(512, 1));
    await below.arrived(1);
    const halted = recorder.halt();
    expect(await ends(halted)).toBe(false);
    below.release('write');
    await halted;
    expectSame(await readAt(memory, 0, 512), pattern(512, 1));
    const buffer = pattern(512, 2);
    const later = [
      device.write(512, buffer),
      device.writeZeroes(0, 512),
      device.trim(0, 512),
      device.flush(),
      device.read(0, buffer),
      device.extents(0, 512),
      device.close(),
    ];
    for (const call of [writing, ...later]) expect(await ends(call)).toBe(false);
    recorder.mark('late');
    expectSame(await readAt(memory, 0, 1024), Buffer.concat([pattern(512, 1), new Uint8Array(512)]));
    expect(told(recorder.trace.events)).toEqual(['submit 0: disk 0 write 0+512']);
  });

  it('in the moment of a submission keeps that call from the device', async () => {
    const memory = new MemoryDevice(SIZE);
    const recorder: Recorder = new Recorder({ onEvent: () => void recorder.halt() });
    const device = recorder.record(memory);
    expect(await ends(device.write(0, pattern(512, 1)))).toBe(false);
    expectSame(await readAt(memory, 0, 512), new Uint8Array(512));
    expect(recorder.isHalted).toBe(true);
  });

  it('keeps a write from the device whose base content was still being read', async () => {
    const memory = new MemoryDevice(SIZE);
    const below = new HeldDevice(memory);
    const recorder = new Recorder({ keepBase: true });
    const device = recorder.record(below);
    below.hold('read');
    void device.write(0, pattern(512, 1));
    await below.arrived(1);
    const halted = recorder.halt();
    below.release('read');
    await halted;
    expectSame(await readAt(memory, 0, 512), new Uint8Array(512));
  });
});
