/** The conformance suite over exports of our own server, and of other people's. */
import { expect } from 'vitest';
import type { BlockDevice } from '../../../src/device/contract.js';
import { NbdDevice } from '../../../src/nbd/client/nbd-device.js';
import { NbdServer } from '../../../src/nbd/server/server.js';
import { describeBlockDevice, SMALLEST_SIZE, type Subject } from '../../conformance/block-device.js';
import { FaultyDevice } from '../../support/devices/faulty-device.js';
import { VolatileDevice } from '../../support/devices/volatile-device.js';
import { ServedImage, type Start } from './served-image.js';
import { isInstalled, ServerPlace } from './servers.js';

const SIZE = SMALLEST_SIZE + 64 * 1024;

async function subject(start: Start): Promise<Subject> {
  const served = await ServedImage.by(start, SIZE);
  let device = await NbdDevice.open(served.uri, { readOnly: false });
  const first = device;
  const reopen = async (readOnly: boolean) => {
    await device.close();
    device = await NbdDevice.open(served.uri, { readOnly });
    return device;
  };
  return {
    device: first,
    reopen: () => reopen(false),
    reopenReadOnly: () => reopen(true),
    async cleanup() {
      await device.close();
      await served.remove();
    },
  };
}

/** Our own, in this process; `reopen` cuts the power of the device that it serves. */
async function ownSubject(): Promise<Subject> {
  const place = await ServerPlace.make();
  const store = new VolatileDevice(SIZE, { maxDelayTurns: 3 });
  const faulty = new FaultyDevice(store);
  const faults: unknown[] = [];
  let server: NbdServer | null = null;
  let client: NbdDevice | null = null;
  const serve = async (device: BlockDevice, readOnly: boolean) => {
    await client?.close();
    await server?.stopNow();
    const exports = [{ name: 'disk', device, readOnly }];
    server = new NbdServer({ exports, onFault: (fault) => faults.push(fault) });
    await server.listenUnix(place.socket);
    client = await NbdDevice.open(place.uri('disk'), { readOnly });
    return client;
  };
  return {
    device: await serve(faulty, false),
    reopen: () => serve(store.cutPower(1, 'none'), false),
    reopenReadOnly: () => serve(store, true),
    failNextFlush: () => void faulty.addRule({ operations: ['flush'], nth: 1 }),
    async cleanup() {
      await client?.close();
      await server?.stopNow();
      await place.remove();
      expect(faults).toEqual([]);
    },
  };
}

describeBlockDevice('NbdDevice on our own server', {
  make: () => ownSubject(),
  supports: { holes: true, durability: true, readOnly: true, failingFlush: true },
});

if (isInstalled('qemu-nbd')) {
  describeBlockDevice('NbdDevice on qemu-nbd', {
    make: () => subject((place, image) => place.qemuNbd('--format=raw', '--discard=unmap', image)),
    supports: { holes: true, durability: true, readOnly: true },
  });
}

if (isInstalled('nbdkit')) {
  describeBlockDevice('NbdDevice on nbdkit', {
    make: () => subject((place, image) => place.nbdkit('file', image)),
    supports: { holes: true, durability: true, readOnly: true },
  });

  describeBlockDevice('NbdDevice on nbdkit with blocks of 4096 bytes, which takes 64 KiB at once', {
    make: () =>
      subject((place, image) =>
        place.nbdkit(
          '--filter=blocksize-policy',
          'file',
          image,
          'blocksize-minimum=4096',
          'blocksize-preferred=4096',
          'blocksize-maximum=65536',
          'blocksize-error-policy=error',
        ),
      ),
    supports: { holes: true, durability: true, readOnly: true },
  });

  describeBlockDevice('NbdDevice on nbdkit that cannot write zeroes, trim or tell holes', {
    make: () =>
      subject((place, image) =>
        place.nbdkit('--filter=nozero', '--filter=noextents', '--filter=fua', 'file', image),
      ),
    supports: { durability: true, readOnly: true },
  });

  describeBlockDevice('NbdDevice on nbdkit that answers in the plain old way', {
    make: () => subject((place, image) => place.nbdkit('--no-sr', 'file', image)),
    supports: { durability: true, readOnly: true },
  });
}
