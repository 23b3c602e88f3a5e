/**
 * Real servers, killed between acknowledgement and flush. nbdkit with its cache filter keeps what was written beside
 * the image until it is flushed; a kill loses that.
 */
import { expect, it, onTestFinished } from 'vitest';
import { NbdDevice } from '../../../src/nbd/client/nbd-device.js';
import { expectSame, pattern, readAt } from '../../conformance/block-device.js';
import { withSeed } from '../../support/devices/seeded-random.js';
import { ServedImage, type Start } from './served-image.js';
import { isInstalled } from './servers.js';
import { PATIENT } from './toy-place.js';

const SIZE = 4 * 1024 * 1024;

/** With a client that knows nothing of the kills. */
async function servedBy(start: Start): Promise<{ served: ServedImage; device: NbdDevice }> {
  const served = await ServedImage.by(start, SIZE);
  onTestFinished(() => served.remove());
  const device = await NbdDevice.open(served.uri, { readOnly: false, ...PATIENT });
  onTestFinished(() => device.close());
  return { served, device };
}

if (isInstalled('nbdkit')) {
  // In a temporary folder of its own by default: it goes with the process.
  const forgetful: Start = (place, image) => place.nbdkit('--filter=cache', 'file', image);

  it('what nbdkit had acknowledged and lost is there again, and on disk after a flush', async () => {
    const { served, device } = await servedBy(forgetful);
    await device.write(0, pattern(65536, 1));
    await device.flush();
    await device.write(32768, pattern(65536, 2));
    await device.writeZeroes(4096, 4096);
    await served.kill();
    const flushed = pattern(65536, 1);
    expectSame((await served.onDisk()).subarray(0, 65536), flushed, 'what the kill left');
    await served.restart();
    const wanted = new Uint8Array(98304);
    wanted.set(flushed);
    wanted.fill(0, 4096, 8192);
    wanted.set(pattern(65536, 2), 32768);
    expectSame(await readAt(device, 0, wanted.byteLength), wanted);
    await device.flush();
    expect(device.unflushedRanges()).toEqual([]);
    await served.kill();
    expectSame((await served.onDisk()).subarray(0, wanted.byteLength), wanted, 'what is on disk');
  });

  it('a server that is killed again and again under load loses nothing that was written', () =>
    withSeed(async (random) => {
      const { served, device } = await servedBy(forgetful);
      const model = new Uint8Array(SIZE);
      for (let kills = 0; kills < 6; kills++) {
        const calls: Promise<void>[] = [];
        for (let at = 0; at < SIZE; at += 65536) {
          const offset = at + 512 * random.below(64);
          const bytes = random.bytes(512 * random.between(1, 64));
          model.set(bytes, offset);
          calls.push(device.write(offset, bytes, { fua: random.chance(0.1) }));
        }
        if (random.chance(0.5)) calls.push(device.flush());
        for (let i = random.below(4); i > 0; i--) await calls[random.below(calls.length)];
        await served.kill();
        await served.restart();
        await Promise.all(calls);
      }
      expectSame(await readAt(device, 0, SIZE), model);
      await device.flush();
      await served.kill();
      expectSame(await served.onDisk(), model, 'what is on disk');
    }));
}

if (isInstalled('qemu-nbd')) {
  it('requests in flight to a qemu-nbd that is killed are done by the next one', async () => {
    const { served, device } = await servedBy((place, image) =>
      place.qemuNbd('--format=raw', '--cache=writeback', image),
    );
    const writes = Array.from({ length: 64 }, (_, i) => device.write(i * 65536, pattern(65536, i)));
    await writes[10];
    await served.kill();
    await served.restart();
    await Promise.all(writes);
    await device.flush();
    await served.kill();
    const found = await served.onDisk();
    for (let i = 0; i < 64; i++) expectSame(found.subarray(i * 65536, (i + 1) * 65536), pattern(65536, i));
  });
}
