/**
 * Real servers, killed between acknowledgement and flush. nbdkit with its cache filter keeps what was written beside
 * the image until it is flushed; a kill loses that.
 */
import { readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { NbdDevice } from '../../../src/nbd/client/nbd-device.js';
import { expectSame, pattern, readAt } from '../../conformance/block-device.js';
import { withSeed } from '../../support/devices/seeded-random.js';
import { isInstalled, ServerPlace, type ServerProcess } from './servers.js';
import { PATIENT } from './toy-place.js';

const SIZE = 4 * 1024 * 1024;

type Start = (place: ServerPlace, image: string) => Promise<ServerProcess>;

/** A server of an image, killed and started anew at will, and a client that knows nothing of it. */
class Served {
  private constructor(
    readonly image: string,
    readonly device: NbdDevice,
    private server: ServerProcess,
    private readonly again: () => Promise<ServerProcess>,
  ) {}

  static async by(start: Start): Promise<Served> {
    const place = await ServerPlace.make();
    onTestFinished(() => place.remove());
    const image = join(place.folder, 'image');
    await writeFile(image, '');
    await truncate(image, SIZE);
    const server = await start(place, image);
    const device = await NbdDevice.open(place.uri(), { readOnly: false, ...PATIENT });
    onTestFinished(() => device.close());
    return new Served(image, device, server, () => start(place, image));
  }

  async kill(): Promise<void> {
    await this.server.kill();
  }

  async restart(): Promise<void> {
    this.server = await this.again();
  }

  onDisk(): Promise<Uint8Array> {
    return readFile(this.image);
  }
}

if (isInstalled('nbdkit')) {
  // In a temporary folder of its own by default: it goes with the process.
  const forgetful: Start = (place, image) => place.nbdkit('--filter=cache', 'file', image);

  it('what nbdkit had acknowledged and lost is there again, and on disk after a flush', async () => {
    const served = await Served.by(forgetful);
    const { device } = served;
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
      const served = await Served.by(forgetful);
      const model = new Uint8Array(SIZE);
      for (let kills = 0; kills < 6; kills++) {
        const calls: Promise<void>[] = [];
        for (let at = 0; at < SIZE; at += 65536) {
          const offset = at + 512 * random.below(64);
          const bytes = random.bytes(512 * random.between(1, 64));
          model.set(bytes, offset);
          calls.push(served.device.write(offset, bytes, { fua: random.chance(0.1) }));
        }
        if (random.chance(0.5)) calls.push(served.device.flush());
        for (let i = random.below(4); i > 0; i--) await calls[random.below(calls.length)];
        await served.kill();
        await served.restart();
        await Promise.all(calls);
      }
      expectSame(await readAt(served.device, 0, SIZE), model);
      await served.device.flush();
      await served.kill();
      expectSame(await served.onDisk(), model, 'what is on disk');
    }));
}

if (isInstalled('qemu-nbd')) {
  it('requests in flight to a qemu-nbd that is killed are done by the next one', async () => {
    const served = await Served.by((place, image) =>
      place.qemuNbd('--format=raw', '--cache=writeback', image),
    );
    const writes = Array.from({ length: 64 }, (_, i) => served.device.write(i * 65536, pattern(65536, i)));
    await writes[10];
    await served.kill();
    await served.restart();
    await Promise.all(writes);
    await served.device.flush();
    await served.kill();
    const found = await served.onDisk();
    for (let i = 0; i < 64; i++) expectSame(found.subarray(i * 65536, (i + 1) * 65536), pattern(65536, i));
  });
}
