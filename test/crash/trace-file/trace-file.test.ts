/** A trace that is written to a file and read back: the same, as far as the file is whole. */
import { copyFile, open, readFile, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { describe, expect, it, vi } from 'vitest';
import { SeededRandom } from '../../../src/crash/seeded-random.js';
import type { Trace, TraceEvent } from '../../../src/crash/trace.js';
import { TRACE_HEAD } from '../../../src/crash/trace-file/fields.js';
import { ITEM, ItemWriter } from '../../../src/crash/trace-file/items.js';
import { readTrace, type StoredTrace } from '../../../src/crash/trace-file/trace-reader.js';
import { frameOf, TraceWriter } from '../../../src/crash/trace-file/trace-writer.js';
import { UserError } from '../../../src/errors.js';
import { randomTrace } from '../../support/crash/random-trace.js';
import { seeded } from '../../support/seed.js';
import { temporaryFolder } from '../../support/temporary-folder.js';

const { seed = 1 } = seeded();
const PAGE = 4096;
const HEAD_BYTES = 512;

async function pathOf(): Promise<string> {
  return join(await temporaryFolder(), 'a.trace');
}

async function write(path: string, trace: Trace, bases: readonly Uint8Array[] = []): Promise<void> {
  const writer = await TraceWriter.create(path, { command: ['mkfs', '-q'] });
  for (const device of trace.devices) writer.device({ ...device, blockSize: 512 });
  for (const [device, bytes] of bases.entries()) writer.base(device, 0, bytes);
  for (const event of trace.events) writer.event(event);
  await writer.close();
}

/** Of what was read so far: it is to be the beginning of what was written. */
function expectBeginning(found: StoredTrace, trace: Trace): void {
  expect(found.events.length).toBeLessThanOrEqual(trace.events.length);
  expect(found.events.every((event, at) => isDeepStrictEqual(event, trace.events[at]))).toBe(true);
}

function one(number: number, bytes: Uint8Array, offset = 0): TraceEvent[] {
  const operation = {
    number,
    device: 0,
    kind: 'write',
    offset,
    length: bytes.length,
    bytes,
    fua: false,
  } as const;
  return [
    { kind: 'submit', operation },
    { kind: 'complete', operation },
  ];
}

describe(`seed ${seed}`, () => {
  it.each([1, 3])('what was written is read, of %i devices', async (devices) => {
    const random = new SeededRandom(seed);
    const trace = randomTrace(random, { devices, sectors: 200, operations: 600 });
    const path = await pathOf();
    const base = random.bytes(100 * 512);
    base.fill(0, PAGE, 3 * PAGE);
    await write(path, trace, [base]);
    const found = readTrace(path);
    expect(found.damage).toBeNull();
    expect(found.command).toEqual(['mkfs', '-q']);
    expect(found.devices).toEqual(trace.devices.map((device) => ({ ...device, blockSize: 512 })));
    expect(found.events).toHaveLength(trace.events.length);
    expectBeginning(found, trace);
    // The completion is of the very operation that was submitted.
    const submitted = new Set(
      found.events.flatMap((event) => (event.kind === 'submit' ? [event.operation] : [])),
    );
    for (const event of found.events)
      if (event.kind === 'complete') expect(submitted.has(event.operation)).toBe(true);
    expect([...found.times].sort((a, b) => a - b)).toEqual(found.times);
    const pages = found.base(0);
    expect([...pages.keys()]).toEqual([0, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    for (const [page, bytes] of pages) {
      const was = base.subarray(page * PAGE, (page + 1) * PAGE);
      expect(Buffer.compare(bytes.subarray(0, was.length), was)).toBe(0);
      expect(bytes.length).toBe(PAGE);
    }
    found.close();
  });

  it('of a file that was cut anywhere what is whole is used, and that it was cut is said', async () => {
    const random = new SeededRandom(seed);
    const trace = randomTrace(random, { devices: 2, sectors: 5000, operations: 400 });
    const path = await pathOf();
    await write(path, trace);
    const { size } = await stat(path);
    expect(size).toBeGreaterThan(500_000);
    let last = -1;
    for (const length of Array.from({ length: 40 }, () => random.between(HEAD_BYTES, size - 1)).sort(
      (a, b) => a - b,
    )) {
      await copyFile(path, `${path}.cut`);
      await truncate(`${path}.cut`, length);
      const found = readTrace(`${path}.cut`);
      expectBeginning(found, trace);
      expect(found.damage!.offsetBytes).toBeLessThanOrEqual(length);
      expect(found.events.length).toBeGreaterThanOrEqual(last);
      last = found.events.length;
      found.close();
    }
    expect(last).toBeGreaterThan(100);
    await truncate(`${path}.cut`, 100);
    expect(() => readTrace(`${path}.cut`)).toThrow(/shorter than the head/);
  });

  it('bits that changed end it there, whichever they are', async () => {
    const random = new SeededRandom(seed);
    const trace = randomTrace(random, { devices: 2, sectors: 2000, operations: 200 });
    const path = await pathOf();
    await write(path, trace);
    const whole = await readFile(path);
    for (let round = 0; round < 200; round++) {
      const bytes = Buffer.from(whole);
      const at = random.chance(0.3) ? random.below(HEAD_BYTES + 64) : random.below(bytes.length);
      bytes[at]! ^= 1 << random.below(8);
      await writeFile(`${path}.bad`, bytes);
      try {
        const found = readTrace(`${path}.bad`);
        expect(at).toBeGreaterThanOrEqual(HEAD_BYTES);
        expectBeginning(found, trace);
        expect(found.damage).not.toBeNull();
        found.close();
      } catch (error) {
        if (!(error instanceof UserError)) throw error;
        expect(at).toBeLessThan(HEAD_BYTES);
      }
    }
  });
});

it('what makes no sense is no trace, though its checksums are right', async () => {
  const path = await pathOf();
  const [submit, complete] = one(0, new Uint8Array(512).fill(1));
  const breaks: [TraceEvent[], RegExp][] = [
    [[submit!, complete!, complete!], /operation 0 cannot complete/],
    [one(0, new Uint8Array(512).fill(1), 64 * 512), /not within its device/],
  ];
  for (const [at, [events, why]] of breaks.entries()) {
    await write(`${path}.${at}`, { devices: [{ name: 'disk', size: 64 * 512 }], events });
    const found = readTrace(`${path}.${at}`);
    expect(found.damage!.why).toMatch(why);
    found.close();
  }
});

it('items at random, behind checksums that are right, are damage and never a fault', async () => {
  const random = new SeededRandom(seed);
  const path = await pathOf();
  await write(path, { devices: [{ name: 'disk', size: 2 ** 52 }], events: one(0, random.bytes(512)) });
  const head = (await readFile(path)).subarray(0, HEAD_BYTES);
  const id = TRACE_HEAD.at(head).bytes('id');
  const start = new ItemWriter();
  start.numbers(ITEM.command);
  start.text('[]');
  start.numbers(ITEM.device, 2 ** 52, 512);
  start.text('disk');
  start.numbers(ITEM.content, 8);
  start.bytes(random.bytes(PAGE));
  const beginning = start.take();
  const large = [ITEM.submit, 0, 0, 0, 0, 2 ** 43 - 1];
  const zeroes = [
    ITEM.submit,
    0,
    0,
    0,
    0,
    (12 * 2 ** 30) / 512,
    ...Array.from({ length: 3 * 2 ** 20 }, () => 0),
  ];
  const times = [0, 1, 2].flatMap(() => [ITEM.mark, 2 ** 53 - 1, 0, 0]);
  const drawn = Array.from({ length: 400 }, () =>
    Array.from({ length: random.between(1, 30) }, () =>
      random.pick([random.below(15), random.below(2000), random.below(2 ** 32), 2 ** 53 - 1]),
    ),
  );
  for (const numbers of [large, zeroes, times, ...drawn]) {
    const items = new ItemWriter();
    items.bytes(beginning);
    for (const number of numbers) items.numbers(number);
    const raw = items.take();
    await writeFile(`${path}.odd`, Buffer.concat([head, frameOf(raw, raw.length, 0, id)]));
    const found = readTrace(`${path}.odd`);
    expect(found.damage).not.toBeNull();
    found.close();
  }
});

it('a frame of another trace is none of this one', async () => {
  const path = await pathOf();
  const random = new SeededRandom(3);
  const trace = randomTrace(random, { devices: 1, sectors: 5000, operations: 300 });
  await write(path, trace);
  await write(`${path}.other`, trace);
  const [mine, others] = [await readFile(path), await readFile(`${path}.other`)];
  // The second frame of the other, which is where it would be.
  const second = others.indexOf('HFTF', HEAD_BYTES + 4, 'latin1');
  const at = mine.indexOf('HFTF', HEAD_BYTES + 4, 'latin1');
  await writeFile(path, Buffer.concat([mine.subarray(0, at), others.subarray(second)]));
  const found = readTrace(path);
  expect(found.damage).toMatchObject({ offsetBytes: at, why: 'there is a frame of another trace' });
  found.close();
});

it('the same content is kept once, in the file and in memory', async () => {
  const path = await pathOf();
  const bytes = new SeededRandom(1).bytes(PAGE);
  const events = Array.from({ length: 1000 }, (_, number) =>
    one(number, bytes.slice(), (number % 8) * PAGE),
  ).flat();
  await write(path, { devices: [{ name: 'disk', size: 8 * PAGE }], events });
  // Beside head, frame and content: what is left of 2000 events.
  expect((await stat(path)).size - PAGE - HEAD_BYTES).toBeLessThan(2000 * 8);
  const found = readTrace(path);
  const written = new Set(
    found.events.map((event) => (event.kind === 'submit' ? event.operation.bytes : null)),
  );
  expect(written.size).toBe(2);
  found.close();
});

it('a device may have many terabytes, and an operation any length', async () => {
  const path = await pathOf();
  const size = 4 * 2 ** 50;
  const operation = {
    number: 0,
    device: 0,
    kind: 'trim',
    offset: 0,
    length: size,
    bytes: null,
    fua: false,
  } as const;
  const large = new SeededRandom(1).bytes(20 * 1024 * 1024);
  const events: TraceEvent[] = [{ kind: 'submit', operation }, ...one(1, large, size - large.length - 512)];
  await write(path, { devices: [{ name: 'disk', size }], events });
  const found = readTrace(path);
  expect(found.damage).toBeNull();
  expect(isDeepStrictEqual(found.events, events)).toBe(true);
  found.close();
});

it('who writes waits for the disk when much is on its way, and hears that it is full', async () => {
  const path = await pathOf();
  const writer = await TraceWriter.create(path, { command: [], limitBytes: 1024 * 1024 });
  writer.device({ name: 'disk', size: 2 ** 30, blockSize: 512 });
  const random = new SeededRandom(1);
  let number = 0;
  const writeMore = () => {
    for (const event of one(number++, random.bytes(256 * 1024))) writer.event(event);
  };
  const file = await open(`${path}.other`, 'w');
  const full = Object.assign(new Error('ENOSPC: no space left on device, write'), {
    code: 'ENOSPC',
    syscall: 'write',
  });
  let held: (() => void) | null = null;
  const spy = vi
    .spyOn(Object.getPrototypeOf(file), 'write')
    .mockImplementation(() => new Promise((_, reject) => (held = () => reject(full))));
  await file.close();
  for (let round = 0; round < 8; round++) writeMore();
  let isReady = false;
  const ready = writer.ready().then(
    () => (isReady = true),
    (error: unknown) => error,
  );
  await vi.waitFor(() => expect(held).not.toBeNull());
  expect(isReady).toBe(false);
  held!();
  expect(await ready).toMatchObject({ code: 'NO_SPACE' });
  spy.mockRestore();
  writeMore();
  await expect(writer.ready()).rejects.toMatchObject({ code: 'NO_SPACE' });
  await expect(writer.close()).rejects.toMatchObject({ code: 'NO_SPACE' });
  const found = readTrace(path);
  expect(found.damage).toMatchObject({ offsetBytes: HEAD_BYTES, why: 'the recording was not closed' });
  found.close();
});

it('nearly all of a recording is in the file though it is never closed', async () => {
  const path = await pathOf();
  const writer = await TraceWriter.create(path, { command: [] });
  writer.device({ name: 'disk', size: 2 ** 20, blockSize: 512 });
  for (const event of one(0, new Uint8Array(512).fill(1))) writer.event(event);
  await vi.waitFor(async () => expect((await stat(path)).size).toBeGreaterThan(HEAD_BYTES));
  const found = readTrace(path);
  expect(found.events).toHaveLength(2);
  expect(found.damage!.why).toBe('the recording was not closed');
  found.close();
  await writer.close();
});

it('nothing is overwritten, and what is no trace is refused', async () => {
  const path = await pathOf();
  await writeFile(path, 'precious');
  await expect(TraceWriter.create(path, { command: [] })).rejects.toMatchObject({ code: 'FILE_EXISTS' });
  expect(await readFile(path, 'utf8')).toBe('precious');
  await writeFile(path, Buffer.alloc(4096, 7));
  expect(() => readTrace(path)).toThrow(/it is no trace/);
  expect(() => readTrace(`${path}.none`)).toThrow(expect.objectContaining({ code: 'FILE_NOT_FOUND' }));
});
