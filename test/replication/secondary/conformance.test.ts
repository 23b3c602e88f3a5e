/** A secondary is a block device, with whatever lies below. */
import type { BlockDevice } from '../../../src/device/contract.js';
import {
  create,
  lent,
  memoryParts,
  type PartName,
  partsBy,
  sizeOf,
} from '../../../src/lab/self/replication/secondary-parts.js';
import { openSecondary, type SecondaryParts } from '../../../src/replication/secondary/index.js';
import { describeBlockDevice, type Subject } from '../../conformance/block-device.js';
import { FaultyDevice } from '../../support/devices/faulty-device.js';
import { VolatileDevice } from '../../support/devices/volatile-device.js';

const SIZES = { imageBytes: 1024 * 1024 + 64 * 1024, logBytes: 8 * 1024 * 1024 };

async function subjectOf(parts: SecondaryParts): Promise<Pick<Subject, 'device' | 'cleanup'>> {
  await create(parts, SIZES.imageBytes);
  const device = await openSecondary(parts);
  return { device, cleanup: () => device.close() };
}

async function overMemory(): Promise<Subject> {
  const faulty = memoryParts(SIZES);
  const log = new FaultyDevice(faulty.epochs, { seed: 3, maxDelayTurns: 3 });
  const image = new FaultyDevice(faulty.image, { seed: 4, maxDelayTurns: 3 });
  const parts = { ...faulty, image, epochs: log };
  const subject = await subjectOf(lent(parts));
  const reopen = async (readOnly: boolean): Promise<BlockDevice> => {
    await subject.device.close();
    return openSecondary(lent(parts), { readOnly });
  };
  return {
    ...subject,
    reopen: () => reopen(false),
    reopenReadOnly: () => reopen(true),
    failNextFlush: () => void log.addRule({ operations: ['flush'], nth: 1 }),
  };
}

describeBlockDevice('SecondaryDevice', {
  make: overMemory,
  supports: { holes: true, durability: true, readOnly: true, failingFlush: true },
});

describeBlockDevice('SecondaryDevice amid a resync', {
  make: async () => {
    const subject = await subjectOf(memoryParts(SIZES));
    const secondary = subject.device as Awaited<ReturnType<typeof openSecondary>>;
    await secondary.beginResync();
    return subject;
  },
  supports: { holes: true },
});

describeBlockDevice('SecondaryDevice, after a power cut that leaves the least', {
  make: async () => {
    const made = partsBy(
      (part: PartName) => new VolatileDevice(sizeOf(part, SIZES), { name: part, seed: 5, maxDelayTurns: 2 }),
    );
    const subject = await subjectOf(made);
    return { ...subject, reopen: () => openSecondary(partsBy((part) => made[part].cutPower(1, 'none'))) };
  },
  supports: { durability: true },
});
