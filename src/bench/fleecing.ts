/**
 * What writes over NBD pay while a backup wants the old content, beside qemu's copy-before-write, by which it makes the same moment
 * ("fleecing"): one raw image each, the same client and the same offsets. Neither backup reads anything meanwhile: what is compared is the
 * gate, and how fast a backup is stands by itself.
 *
 * Measured with cold servers ours had a p99 of 12 ms with 5% first writes and a backup, where qemu had 4.8: most of that was code that was being
 * compiled. So one half of the disk is written before, with the same share of first writes, and is not measured. It has to be
 * another half: qemu copies clusters of 64 KiB, and would have copied nearly all of one by then.
 */
import { rm, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { NbdDevice } from '../nbd/client/nbd-device.js';
import { act } from '../volume/act.js';
import { offsetsOf, SAVED_BYTES, STANDS_STILL, written } from './backup-writes.js';
import type { Comparison, Contender, Sample } from './bench.js';
import { MIB, varied } from './bench-array.js';
import { BLOCK_BYTES, makeVolume } from './extents-volume.js';
import { HOLDFAST, RunningServer, storageDaemon } from './nbd-servers.js';
import { inOrder, performWrites } from './workload.js';

export interface FleecingSizes {
  /** All of it is written before. */
  readonly volumeBytes: number;
  readonly requests: number;
  readonly depth: number;
}

export const FLEECING_NOTES = [
  'Over NBD: holdfast and qemu-storage-daemon serve one raw image each, with a backup (qemu: copy-before-write to another file) and without. Goal: p99 below that of qemu, and with 5% at most 1.5 of that without.',
];

/** `keptBytes`: so many there are by now. */
type Measured = (device: NbdDevice, keptBytes: () => Promise<number>) => Promise<Sample>;

interface Disks {
  readonly directory: string;
  readonly volume: string;
  /** qemu's. */
  readonly image: string;
}

/** `hasQemu`: the peer is there. */
export async function* fleecingComparisons(
  directory: string,
  sizes: FleecingSizes,
  hasQemu: boolean,
): AsyncIterable<Comparison> {
  const volume = join(directory, 'fleeced');
  await makeVolume(volume, sizes.volumeBytes, { members: 1, extentBytes: null });
  const image = join(directory, 'fleeced.img');
  await writeFile(image, '');
  await truncate(image, sizes.volumeBytes);
  const disks = { directory, volume, image };
  await served(disks, HOLDFAST, volume, '', (device) => fill(device, sizes.volumeBytes));
  if (hasQemu)
    await served(disks, storageDaemon(null), image, 'disk', (device) => fill(device, sizes.volumeBytes));
  for (const share of [0.05, 0.5]) yield compared(disks, share, sizes, hasQemu);
}

function compared(
  disks: Disks,
  share: number,
  { volumeBytes, requests, depth }: FleecingSizes,
  hasQemu: boolean,
): Comparison {
  // Each server is new, and what is written to the first half is not measured: ours is compiled while it runs.
  const half = volumeBytes / 2;
  const first = offsetsOf(requests, share, half);
  const second = first.map((offset) => (offset < SAVED_BYTES ? offset : offset - SAVED_BYTES + half));
  const write: Measured = async (device, keptBytes) => {
    await written(device, first, depth);
    const before = await keptBytes();
    const sample = await written(device, second, depth);
    return { ...sample, counts: { keptBytes: (await keptBytes()) - before } };
  };
  const nothing = async () => 0;
  const { volume, image } = disks;
  const ours: Contender[] = [
    { name: 'holdfast', run: () => served(disks, HOLDFAST, volume, '', (device) => write(device, nothing)) },
    { name: 'holdfast, backup', run: () => duringOurs(disks, write) },
  ];
  const theirs: Contender[] = [
    {
      name: 'qemu',
      run: () => served(disks, storageDaemon(null), image, 'disk', (device) => write(device, nothing)),
    },
    { name: 'qemu, copy-before-write', against: 'qemu', run: () => duringTheirs(disks, write) },
  ];
  return {
    title: `4 KiB at random over NBD, ${depth} in flight, ${share * 100}% first writes`,
    roundBytes: requests * BLOCK_BYTES,
    operations: requests,
    baseline: 'holdfast',
    contenders: hasQemu ? [...ours, ...theirs] : ours,
  };
}

async function served<R>(
  { directory }: Disks,
  command: Parameters<typeof RunningServer.start>[0],
  what: string,
  name: string,
  use: (device: NbdDevice) => Promise<R>,
): Promise<R> {
  const socket = join(directory, 'fleeced.sock');
  const server = await RunningServer.start(command, what, socket);
  try {
    const uri = `nbd+unix:///${name}?socket=${encodeURIComponent(socket)}`;
    const device = await NbdDevice.open(uri, { readOnly: false });
    try {
      return await use(device);
    } finally {
      await device.close();
    }
  } finally {
    await server.stop();
  }
}

async function fill(device: NbdDevice, sizeBytes: number): Promise<void> {
  const offsets = inOrder(sizeBytes / MIB, MIB);
  await performWrites({ title: 'fill', requestBytes: MIB, offsets, depth: 4 }, device, varied(MIB));
}

/** It stands still when its first pieces are saved: all others are unsaved. */
function duringOurs(disks: Disks, write: Measured): Promise<Sample> {
  const { volume, directory } = disks;
  const to = join(directory, 'fleeced.copy');
  return served(disks, HOLDFAST, volume, '', async (device) => {
    const cancel = new AbortController();
    const reporting = { signal: cancel.signal, onProgress: () => undefined, warn: () => undefined };
    const running = act(
      [volume],
      'backup create',
      {
        ...{ name: 'bench', to, isSet: false, since: null, snapshot: null, force: false },
        ...{ container: { kind: 'beside' }, containerBytes: null, onOverflow: 'grow' },
        ...{ bytesPerSecond: STANDS_STILL, allBlocks: true, skipUnreadable: false },
      },
      { reporting },
    );
    const status = async () => (await act([volume], 'backup status', {}, { reporting })).backup;
    try {
      while (((await status())?.doneBytes ?? 0) < SAVED_BYTES) await Promise.race([wait(10), running]);
      return await write(device, async () => (await status())?.container?.usedBytes ?? 0);
    } finally {
      cancel.abort();
      // It was cancelled: that is what is wanted.
      await running.catch(() => undefined);
      await rm(to, { force: true });
    }
  });
}

/** What stands for saved pieces was copied before it is measured. */
async function duringTheirs(disks: Disks, write: Measured): Promise<Sample> {
  const { directory, image } = disks;
  const copies = join(directory, 'fleeced.copies');
  await writeFile(copies, '');
  await truncate(copies, (await stat(image)).size);
  const keptBytes = async () => (await stat(copies)).blocks * 512;
  try {
    return await served(disks, storageDaemon(copies), image, 'disk', async (device) => {
      await fill(device, SAVED_BYTES);
      return write(device, keptBytes);
    });
  } finally {
    await rm(copies, { force: true });
  }
}
