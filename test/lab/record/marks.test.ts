/** Marks by the socket and by the pipe: which lines are some, what is answered, and where they come in the trace. */
import { once } from 'node:events';
import { truncate, writeFile } from 'node:fs/promises';
import { createConnection, type Socket } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { MarkLines } from '../../../src/lab/record/mark-lines.js';
import { type RecordedPlaces, recordDisk } from '../../../src/lab/record/record.js';
import { NbdDevice } from '../../../src/nbd/client/nbd-device.js';
import { unixUri } from '../../../src/volume/serve-places.js';
import { told } from '../../support/crash/told-events.js';
import { scratchDirectory } from '../../support/devices/scratch.js';
import { withSeed } from '../../support/devices/seeded-random.js';
import { MemorySink } from '../../support/lab/memory-sink.js';

async function marked(use: (places: RecordedPlaces, sink: MemorySink) => Promise<unknown>) {
  const path = join(await scratchDirectory(), 'disk.img');
  await writeFile(path, '');
  await truncate(path, 1024 * 1024);
  const sink = new MemorySink();
  const warnings: string[] = [];
  const report = await recordDisk(path, {
    sink,
    warn: (message) => warnings.push(message),
    onFault: (error) => expect.fail(String(error)),
    run: async (places) => {
      await use(places, sink);
      return 0;
    },
  });
  return { report, sink, warnings, told: told(sink.events) };
}

async function connected(path: string): Promise<Socket> {
  const socket = createConnection(path);
  socket.setEncoding('utf8');
  await once(socket, 'connect');
  return socket;
}

async function answer(socket: Socket, text: string): Promise<string> {
  socket.write(text);
  const [answered] = await once(socket, 'data');
  return answered as string;
}

const pipe = ({ marksDescriptor }: RecordedPlaces): string => `/proc/self/fd/${marksDescriptor}`;

describe('a mark', () => {
  it('by the socket is in the trace when it is answered', async () => {
    const { told: lines, report } = await marked(async ({ marksSocket }, sink) => {
      const socket = await connected(marksSocket);
      for (const name of ['one', 'zwei drei', 'número 4 ✓']) {
        expect(await answer(socket, `${name}\n`)).toBe('ok\n');
        expect(told(sink.events).at(-1)).toBe(`mark ${name}`);
      }
      expect(await answer(socket, 'five\nsix\nse')).toBe('ok\nok\n');
      expect(await answer(socket, 'ven\n')).toBe('ok\n');
      socket.destroy();
    });
    const names = ['one', 'zwei drei', 'número 4 ✓', 'five', 'six', 'seven'];
    expect(lines).toEqual(names.map((name) => `mark ${name}`));
    expect(report.marks).toBe(6);
  });

  it('that is none is refused with a word, and the next one is taken', async () => {
    const { told: lines, report } = await marked(async ({ marksSocket }) => {
      const socket = await connected(marksSocket);
      expect(await answer(socket, `${'x'.repeat(4096)}\n`)).toBe('ok\n');
      expect(await answer(socket, `${'x'.repeat(4097)}\n`)).toBe(
        'refused: a name has at most 4096 bytes, and this one has 4097\n',
      );
      expect(await answer(socket, 'a\tb\n')).toBe('refused: a name has no control characters\n');
      expect(await answer(socket, 'a\u0085b\n')).toBe('refused: a name has no control characters\n');
      expect(await answer(socket, '\n')).toBe('refused: an empty line is no name\n');
      socket.write(Buffer.from([0xff, 0xfe, 10]));
      expect((await once(socket, 'data'))[0]).toBe('refused: a name is text in UTF-8\n');
      expect(await answer(socket, 'good\n')).toBe('ok\n');
      socket.destroy();
    });
    expect(lines.at(-1)).toBe('mark good');
    expect(report).toMatchObject({ marks: 2, refusedMarks: 0 });
  });

  it('by the pipe is counted where it is none, and that is warned of', async () => {
    const {
      told: lines,
      report,
      warnings,
    } = await marked(async (places) => {
      await writeFile(pipe(places), 'one\ntwo\n\na\rb\n');
      await writeFile(pipe(places), `${'y'.repeat(5000)}\nthree\n`);
      await writeFile(pipe(places), 'half of a na');
    });
    expect(lines).toEqual(['mark one', 'mark two', 'mark three']);
    expect(report).toMatchObject({ marks: 3, refusedMarks: 4 });
    expect(warnings).toEqual([
      'lines on the descriptor for marks that are none, and are not in the trace: 4',
    ]);
  });

  it('that was written before the command ended is recorded before the trace ends', async () => {
    const { told: lines } = await marked(async (places) => {
      const socket = await connected(places.marksSocket);
      socket.end('by the socket\n');
      await writeFile(pipe(places), 'by the pipe\n');
    });
    expect(lines.toSorted()).toEqual(['mark by the pipe', 'mark by the socket']);
  });

  it('comes behind all that was answered before it was written, by either way', async () => {
    const { told: lines } = await marked(async (places) => {
      const uri = unixUri(places.socket, places.exportName, false);
      const device = await NbdDevice.open(uri, { readOnly: false });
      const socket = await connected(places.marksSocket);
      for (let i = 0; i < 20; i++) {
        await device.write(i * 512, new Uint8Array(512).fill(i + 1));
        await writeFile(pipe(places), `written ${i}\n`);
        await device.flush();
        expect(await answer(socket, `flushed ${i}\n`)).toBe('ok\n');
      }
      socket.destroy();
      await device.close();
    });
    for (let i = 0; i < 20; i++) {
      const place = (line: string) => {
        const at = lines.indexOf(line);
        expect(at, line).toBeGreaterThanOrEqual(0);
        return at;
      };
      expect(place(`mark written ${i}`)).toBeGreaterThan(
        place(`complete ${2 * i}: disk 0 write ${i * 512}+512`),
      );
      expect(place(`mark flushed ${i}`)).toBeGreaterThan(place(`complete ${2 * i + 1}: disk 0 flush`));
      // Who waits for the answer has it before what he does next.
      if (i < 19) {
        const next = `submit ${2 * i + 2}: disk 0 write ${(i + 1) * 512}+512`;
        expect(place(`mark flushed ${i}`)).toBeLessThan(place(next));
      }
    }
  });

  it('waits, and is not lost, while the trace is behind', async () => {
    const count = 20_000;
    const { report } = await marked(async (places, sink) => {
      const catchUp = sink.fallBehind();
      setTimeout(catchUp, 50);
      await writeFile(
        pipe(places),
        Array.from({ length: count }, (_, i) => `mark number ${i}\n`),
      );
    });
    expect(report.marks).toBe(count);
  });
});

it('lines are the same however they are cut', () =>
  withSeed(async (random) => {
    const text = Buffer.from(
      ['a', 'bc', '', 'é✓', 'x'.repeat(5000), '\u0001', 'end', 'no end'].join('\n'),
      'utf8',
    );
    const whole = [...new MarkLines().take(text)];
    expect(whole.map(({ kind }) => kind[0]).join('')).toBe('mmrmrrm');
    const lines = new MarkLines();
    const found = [];
    for (let at = 0; at < text.length; ) {
      const end = Math.min(text.length, at + 1 + random.below(700));
      found.push(...lines.take(text.subarray(at, end)));
      at = end;
    }
    expect(found).toEqual(whole);
    expect(lines.isAmid).toBe(true);
  }));
