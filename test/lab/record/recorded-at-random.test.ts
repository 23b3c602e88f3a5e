/** Whatever is asked of a recorded disk, side by side and by several connections: its trace, replayed, is the disk. */
import { randomBytes } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { readTrace } from '../../../src/crash/trace-file/trace-reader.js';
import { TraceWriter } from '../../../src/crash/trace-file/trace-writer.js';
import { recordDisk } from '../../../src/lab/record/record.js';
import { NbdDevice } from '../../../src/nbd/client/nbd-device.js';
import { unixUri } from '../../../src/volume/serve-places.js';
import { expectSame } from '../../conformance/block-device.js';
import { scratchDirectory } from '../../support/devices/scratch.js';
import { type SeededRandom, withSeed } from '../../support/devices/seeded-random.js';
import { replayed } from '../../support/lab/replayed.js';

const SECTOR = 512;
const SECTORS = 16 * 1024;
const OPERATIONS = 300;
const LANES = 6;

/** Few contents, so that many are alike; long writes come to the server in pieces. */
function operation(device: NbdDevice, random: SeededRandom, contents: readonly Uint8Array[]): Promise<void> {
  const sectors = random.below(20) === 0 ? 1 + random.below(3000) : 1 + random.below(24);
  const offset = random.below(SECTORS - sectors) * SECTOR;
  const length = sectors * SECTOR;
  const fua = random.below(4) === 0;
  const choice = random.below(10);
  if (choice === 0) return device.flush();
  if (choice === 1) return device.writeZeroes(offset, length, { fua });
  const content = contents[random.below(contents.length)]!;
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at += content.length) bytes.set(content.subarray(0, length - at), at);
  return device.write(offset, bytes, { fua });
}

it('by a trace in a file', () =>
  withSeed(async (random) => {
    const folder = await scratchDirectory();
    const image = join(folder, 'disk.img');
    await writeFile(image, randomBytes(SECTORS * SECTOR).fill(0, 10_000, 3_000_000));
    const contents = Array.from({ length: 20 }, () => randomBytes(4096));
    const path = join(folder, 't.trace');
    const sink = await TraceWriter.create(path, { command: ['random'] });
    let asked = 0;
    const report = await recordDisk(image, {
      sink,
      warn: (message) => expect.fail(message),
      onFault: (error) => expect.fail(String(error)),
      run: async ({ socket, exportName, marksDescriptor }) => {
        const uri = unixUri(socket, exportName, false);
        const devices = await Promise.all([0, 1, 2].map(() => NbdDevice.open(uri, { readOnly: false })));
        const lanes = Array.from({ length: LANES }, async (_, lane) => {
          while (asked < OPERATIONS) {
            const number = asked++;
            await operation(devices[lane % devices.length]!, random, contents);
            if (number % 10 === 0) await writeFile(`/proc/self/fd/${marksDescriptor}`, `done ${number}\n`);
          }
        });
        await Promise.all(lanes);
        for (const device of devices) await device.close();
        return 0;
      },
    });
    const trace = await readTrace(path);
    try {
      expect(trace.damage).toBeNull();
      expect(trace.events).toHaveLength(report.events);
      const ended = trace.events.filter(({ kind }) => kind === 'complete');
      const begun = trace.events.filter(({ kind }) => kind === 'submit');
      const marks = trace.events.flatMap((event) => (event.kind === 'mark' ? [event.mark.name] : []));
      expect(ended).toHaveLength(begun.length);
      expect(marks).toHaveLength(OPERATIONS / 10);
      expectSame(replayed(trace, 0), await readFile(image));
    } finally {
      trace.close();
    }
  }));
