/** A recording into memory, of an image: exactly what was asked, what was there before, its pace, and its end. */
import { open, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { UserError } from '../../../src/errors.js';
import { type RecordedPlaces, type RecordReport, recordDisk } from '../../../src/lab/record/record.js';
import { NbdDevice } from '../../../src/nbd/client/nbd-device.js';
import { unixUri } from '../../../src/volume/serve-places.js';
import { expectSame, pattern } from '../../conformance/block-device.js';
import { told } from '../../support/crash/told-events.js';
import { scratchDirectory } from '../../support/devices/scratch.js';
import { MemorySink } from '../../support/lab/memory-sink.js';

const SIZE = 4 * 1024 * 1024;
const PAGE = 4096;

/** Data at the beginning, amid a page, and in the last sectors of an image that ends amid a page. */
async function imageWithHoles(): Promise<{ path: string; content: Buffer }> {
  const path = join(await scratchDirectory(), 'disk.img');
  const size = SIZE + 1024;
  const content = Buffer.alloc(size);
  content.set(pattern(3 * PAGE, 1), 0);
  content.fill(0, PAGE, 2 * PAGE);
  content.set(pattern(1000, 2), 2 * 1024 * 1024 + 100);
  content.set(pattern(512, 3), size - 512);
  const file = await open(path, 'wx');
  await file.truncate(size);
  await file.write(content, 0, 3 * PAGE, 0);
  await file.write(content, 2 * 1024 * 1024, PAGE, 2 * 1024 * 1024);
  await file.write(content, size - 512, 512, size - 512);
  await file.close();
  return { path, content };
}

interface Recorded {
  readonly report: RecordReport;
  readonly sink: MemorySink;
  readonly warnings: readonly string[];
}

async function recorded(
  path: string,
  use: (device: NbdDevice, places: RecordedPlaces, sink: MemorySink) => Promise<unknown>,
  sink = new MemorySink(),
): Promise<Recorded> {
  const warnings: string[] = [];
  const report = await recordDisk(path, {
    sink,
    warn: (message) => warnings.push(message),
    onFault: (error) => expect.fail(String(error)),
    run: async (places) => {
      const uri = unixUri(places.socket, places.exportName, false);
      const device = await NbdDevice.open(uri, { readOnly: false });
      try {
        await use(device, places, sink);
      } finally {
        await device.close();
      }
      return 0;
    },
  });
  return { report, sink, warnings };
}

const kindsOf = (sink: MemorySink): string[] =>
  told(sink.events).filter((line) => !line.startsWith('complete'));

describe('a recording', () => {
  it('has each operation in order, with its bytes, and no flush that nobody asked for', async () => {
    const { path, content } = await imageWithHoles();
    const { report, sink, warnings } = await recorded(path, async (device) => {
      await device.write(512, pattern(1024, 7));
      await device.flush();
      await device.write(8192, pattern(4096, 8), { fua: true });
      await device.trim(65_536, 65_536);
      await device.writeZeroes(0, 4096);
      await device.write(1024 * 1024, pattern(512, 9));
    });
    expect(told(sink.events)).toEqual(
      [
        '0: disk 0 write 512+1024',
        '1: disk 0 flush',
        '2: disk 0 write 8192+4096 fua',
        '3: disk 0 trim 65536+65536',
        '4: disk 0 write-zeroes 0+4096',
        '5: disk 0 write 1048576+512',
      ].flatMap((line) => [`submit ${line}`, `complete ${line}`]),
    );
    const [write] = sink.events;
    expectSame((write as { operation: { bytes: Uint8Array } }).operation.bytes, pattern(1024, 7));
    expect(sink.isClosed).toBe(true);
    expect(warnings).toEqual([]);
    expect(report).toEqual({
      devices: [{ name: path, sizeBytes: SIZE + 1024 }],
      ...{ events: 12, writes: 3, zeroes: 1, trims: 1, flushes: 1, marks: 0 },
      ...{ refusedMarks: 0, exitCode: 0, traceBytes: sink.bytes },
    });
    expect(sink.devices).toEqual([{ name: path, size: SIZE + 1024, blockSize: 512 }]);
    // What was written is in the image all the same.
    content.set(pattern(1024, 7), 512);
    content.set(pattern(4096, 8), 8192);
    content.fill(0, 0, 4096);
    content.set(pattern(512, 9), 1024 * 1024);
    expectSame(await readFile(path), content);
  });

  it('has what was there before: pages that are not zeroes, each once', async () => {
    const { path, content } = await imageWithHoles();
    const { sink } = await recorded(path, (device) => device.write(0, pattern(PAGE, 9)));
    const [base] = sink.bases;
    const found = Buffer.alloc(content.length);
    for (const { offset, bytes } of base!) {
      expect(offset % PAGE).toBe(0);
      found.set(bytes, offset);
    }
    expectSame(found, content);
    const ends = base!.map(({ offset, bytes }) => [offset, offset + bytes.byteLength]);
    expect(ends).toEqual([
      [0, PAGE],
      [2 * PAGE, 3 * PAGE],
      [2 * 1024 * 1024, 2 * 1024 * 1024 + PAGE],
      [SIZE, SIZE + 1024],
    ]);
  });

  it('orders what comes by several connections', async () => {
    const { path } = await imageWithHoles();
    const { sink } = await recorded(path, async (first, { socket, exportName }) => {
      const second = await NbdDevice.open(unixUri(socket, exportName, false), { readOnly: false });
      for (let i = 0; i < 4; i++) {
        await (i % 2 === 0 ? first : second).write(i * 4096, pattern(512, i));
        await (i % 2 === 0 ? second : first).flush();
      }
      await second.close();
    });
    const wanted = [0, 1, 2, 3].flatMap((i) => [
      `submit ${2 * i}: disk 0 write ${i * 4096}+512`,
      `submit ${2 * i + 1}: disk 0 flush`,
    ]);
    expect(kindsOf(sink)).toEqual(wanted);
  });

  it('goes down when the trace has caught up, and not before', async () => {
    const { path, content } = await imageWithHoles();
    await recorded(path, async (device, _places, sink) => {
      const catchUp = sink.fallBehind();
      let isAnswered = false;
      const writing = device.write(0, pattern(512, 5)).then(() => {
        isAnswered = true;
      });
      while (sink.events.length === 0) await wait(1);
      await wait(20);
      expect(isAnswered).toBe(false);
      expect((await readFile(path)).equals(content)).toBe(true);
      catchUp();
      await writing;
    });
  });

  it('has what was in flight when the command ended', async () => {
    const { path } = await imageWithHoles();
    const sink = new MemorySink();
    let writing: Promise<unknown> = Promise.resolve();
    await recordDisk(path, {
      sink,
      warn: () => undefined,
      onFault: (error) => expect.fail(String(error)),
      run: async ({ socket, exportName }) => {
        const device = await NbdDevice.open(unixUri(socket, exportName, false), { readOnly: false });
        const catchUp = sink.fallBehind();
        writing = device.write(0, pattern(512, 5)).finally(() => device.close());
        while (sink.events.length === 0) await wait(1);
        setTimeout(catchUp, 50);
        return 0;
      },
    });
    await writing;
    const line = '0: disk 0 write 0+512';
    expect(told(sink.events)).toEqual([`submit ${line}`, `complete ${line}`]);
  });
});

describe('a trace that cannot be written', () => {
  const full = () => new UserError('NO_SPACE', 't.trace: cannot be written', { hint: 'Free space.' });

  it('ends the recording, and not the command: its writes go on', async () => {
    const { path, content } = await imageWithHoles();
    const sink = new MemorySink();
    const warnings: string[] = [];
    const recording = recordDisk(path, {
      sink,
      warn: (message) => warnings.push(message),
      onFault: (error) => expect.fail(String(error)),
      run: async ({ socket, exportName, marksDescriptor }) => {
        const device = await NbdDevice.open(unixUri(socket, exportName, false), { readOnly: false });
        await device.write(0, pattern(512, 1));
        sink.failure = full();
        for (let i = 1; i < 10; i++) await device.write(i * 512, pattern(512, 1));
        await device.flush();
        await device.close();
        await writeFile(`/proc/self/fd/${marksDescriptor}`, 'late\n');
        return 3;
      },
    });
    const error = await recording.then(
      () => expect.fail('it went well'),
      (thrown: UserError) => thrown,
    );
    expect(error).toMatchObject({ code: 'NO_SPACE', hint: 'Free space.', details: { exitCode: 3 } });
    expect(error.message).toContain('t.trace: cannot be written; the recording ended there');
    expect(error.message).toContain('ended with 3');
    expect(warnings.join()).toContain('the recording has ended, and the command goes on');
    expect(told(sink.events)).toEqual([
      'submit 0: disk 0 write 0+512',
      'complete 0: disk 0 write 0+512',
      'submit 1: disk 0 write 512+512',
    ]);
    for (let i = 0; i < 10; i++) content.set(pattern(512, 1), i * 512);
    expectSame(await readFile(path), content);
  });

  it('from the beginning starts no command', async () => {
    const { path } = await imageWithHoles();
    const sink = new MemorySink();
    sink.failure = full();
    let hasRun = false;
    const recording = recorded(
      path,
      async () => {
        hasRun = true;
      },
      sink,
    );
    await expect(recording).rejects.toMatchObject({
      code: 'NO_SPACE',
      message: 't.trace: cannot be written',
    });
    expect(hasRun).toBe(false);
  });

  it('at its very end is told too', async () => {
    const { path } = await imageWithHoles();
    const recording = recorded(path, async (_device, _places, sink) => {
      sink.failure = full();
    });
    await expect(recording).rejects.toMatchObject({ code: 'NO_SPACE' });
  });
});
