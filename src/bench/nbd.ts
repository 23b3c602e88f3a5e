/**
 * Volumes served over NBD, beside qemu-nbd and `nbdkit file` on one raw image: the same client, the same requests, each
 * server a process of its own at a unix socket.
 *
 * RAID-5 of four members with its record is compared with qemu-nbd, which has no redundancy to keep: a 4 KiB write
 * is two reads, two writes, and a record before them where its stripe is not listed. A raw image is compared with
 * nbdkit, the fastest server of one.
 *
 * What was measured (two cores of an AMD EPYC that others kept busy, Node 20.20, ext4; processor time of a request,
 * because it hangs less on the others than the clock does) and what was done:
 * - 4 KiB reads: 46 us of the main thread, a third of them promises, maps and lists for one piece; 31 us now. Most of
 *   what was left was Node's own read and the thread that it wakes: reads that stay on the thread spare it
 *   (device/prompt-reads.ts).
 * - 1 MiB reads: 1.9 ms to take 256 blocks into the cache and copy them out; long reads pass it by now: 0.4 ms.
 * - 1 MiB writes to RAID-5: 4.2 ms, most of it paid for each of 256 buffers on its way down. Runs go down from one
 *   buffer now, though that is a copy more: 2.9 ms; one walk over the payload and no views of whole frames: a tenth less.
 * - Small writes into the page cache stay on the thread too (device/prompt-writes.ts), and 256 calls a turn of the loop:
 *   with 64 the batches of writes at random went mostly to the pool, and were a third slower.
 * - Long writes pass whole stripes down beside the cache (device/cache/beside.ts): a raw image, in order, from 0.30 of
 *   nbdkit's speed to 0.65.
 * - A raw image has no cache of ours above the page cache (volume/volume.ts): 4 KiB reads 0.6 of their processor time, a
 *   write and its flush 0.7.
 * - Requests that wait for nothing are done before their call returns, without a promise (PromptDevice): 4 KiB reads of a
 *   raw image 12.8 us after 16.2. Members are asked so too: 4 KiB writes at random to RAID-5 97 us after 118.
 * - A small write is slow from 8 ms on, not from 2: on a busy machine half of them had gone to the pool by that.
 * - Payloads are received into the pool's memory (nbd/wire/direct-socket.ts): writes in order three quarters of their
 *   processor time, to a raw image and to RAID-5. Only their first KiB go through slabs now: 1.1 s of processor time for a
 *   GiB after 1.8 (side by side, quiet), half of what is spared being the collector's work for those slabs.
 * - Unix sockets have room for a whole reply of 1 MiB (nbd/wire/send-room.ts): reads in order 1.3 to 1.5 times as fast.
 *
 * What can be had, by a C program that writes what the disk holds and then syncs: 4/3 of the bytes on four files take 1.1 to
 * 1.6 times as long as all on one (median 1.35): RAID-5 in order comes to 0.74 of a peer that keeps the disk busy, and to
 * more only of one that does not. A small write after a record with O_DSYNC comes to 0.4 of one without.
 *
 * Tried, and not kept:
 * - libuv's io_uring (UV_USE_IO_URING=1): its polling thread takes a core of two. 4 KiB reads 0.7 of what they were.
 * - Two threads in Node's pool in place of four: no gain that could be told from chance.
 * - Two batches of the cache's background at a time, half as long: writes in order gained less than their quartiles
 *   are apart, writes at random nothing.
 * - fdatasync of a raw image on the thread, with nothing else in flight: a quarter faster on a quiet machine, nothing on a
 *   busy one (0.82 to 1.09 in rounds side by side), and the whole process waits for the disk. Each flush through the pool
 *   wakes three threads where nbdkit wakes one, which is what it is behind by.
 * - A larger young generation (64 MiB): four tenths less time in scavenges, a third of that lost again in marking.
 */
import { mkdir, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import type { Bench, BenchContext, Comparison, Contender } from './bench.js';
import { MEMBERS, MIB, makeArray } from './bench-array.js';
import { type FioWork, runFio, whyNoFio } from './fio.js';
import { HOLDFAST, NBDKIT, QEMU_NBD, RunningServer, type ServerCommand, whyNo } from './nbd-servers.js';
import { type Opened, prepareInSteps } from './prepare.js';
import { RawFiles } from './raw-files.js';

const KIB = 1024;
/** TMPFS_MAGIC of statfs(2). */
const TMPFS = 0x01021994;

export interface NbdSizes {
  /** Of each disk that is served; whole MiB, and of members whole stripes. */
  readonly diskBytes: number;
  /** Of the disk, what is written over and over: fewer stripes than stay listed. */
  readonly smallAreaBytes: number;
  /** Requests of a round. */
  readonly randomReads: number;
  readonly randomWrites: number;
  readonly sequential: number;
  readonly flushed: number;
}

/** A disk is 16 times the cache of a volume (volume/stack.ts); what is written at random is twice the cache. */
const SIZES: NbdSizes = {
  diskBytes: 1026 * MIB,
  smallAreaBytes: 4 * MIB,
  randomReads: 32 * KIB,
  randomWrites: 32 * KIB,
  sequential: 1 * KIB,
  flushed: 512,
};

const NAMES = {
  qemu: 'qemu-nbd',
  nbdkit: 'nbdkit',
  raw: 'holdfast, raw image',
  raid: 'holdfast, RAID-5',
} as const;

interface Column {
  readonly name: string;
  readonly socket: string;
  readonly against?: string;
}

export const nbd: Bench = nbdOf(SIZES);

export function nbdOf(sizes: NbdSizes): Bench {
  return {
    name: 'nbd',
    title: `Volumes served over NBD: a raw image, and RAID-5 of ${MEMBERS} members with its record`,
    prepare: ({ directory }: BenchContext) =>
      prepareInSteps(async (opened) => {
        const obstacle = (await whyNoFio()) ?? (await whyUnfit(directory));
        if (obstacle !== null) return { notes: [`Nothing was measured: ${obstacle}`], comparisons: () => [] };
        const { columns, absent } = await serveAll(directory, sizes, opened);
        return { notes: [...absent, ...notesOf(sizes)], comparisons: () => comparisons(columns, sizes) };
      }),
  };
}

function notesOf({ diskBytes }: NbdSizes): string[] {
  return [
    `Each server has a disk of ${diskBytes / MIB} MiB of its own, all of it written before. The client is fio, over one connection; the clock stops after a last flush.`,
    'RAID-5 is compared with qemu-nbd, the raw image with nbdkit. Flushed writes: latencies are those of the flushes.',
    'small area: 4 MiB, whose stripes stay listed in the record; anywhere: they hardly ever are. Page cache: what is read is in it.',
  ];
}

/** On tmpfs a flush costs nothing, and nothing that is measured would be so on a disk. */
async function whyUnfit(directory: string): Promise<string | null> {
  const { type } = await statfs(directory);
  if (type !== TMPFS) return null;
  return `${directory} is on tmpfs, where a flush costs nothing: name another directory with --directory.`;
}

async function serveAll(
  directory: string,
  { diskBytes }: NbdSizes,
  opened: Opened,
): Promise<{ columns: Column[]; absent: string[] }> {
  const absent: string[] = [];
  const columns: Column[] = [];
  const serve = async (name: string, command: ServerCommand, what: string, against?: string) => {
    const server = await RunningServer.start(command, what, join(directory, `${columns.length}.sock`));
    opened(() => server.stop());
    const isCompared = columns.some((column) => column.name === against);
    columns.push({ name, socket: server.socket, ...(isCompared ? { against: against! } : {}) });
  };
  for (const [name, command] of [
    [NAMES.qemu, QEMU_NBD],
    [NAMES.nbdkit, NBDKIT],
  ] as const) {
    const why = await whyNo(name);
    if (why === null) await serve(name, command, await rawImage(join(directory, name), diskBytes));
    else absent.push(`${name} is left out: ${why}`);
  }
  await serve(NAMES.raw, HOLDFAST, await rawImage(join(directory, 'raw'), diskBytes), NAMES.nbdkit);
  await makeArray(directory, 'raid', diskBytes / (MEMBERS - 1));
  await serve(NAMES.raid, HOLDFAST, join(directory, 'raid'), NAMES.qemu);
  return { columns, absent };
}

/** An image with every block written. */
async function rawImage(directory: string, bytes: number): Promise<string> {
  await mkdir(directory);
  await (await RawFiles.make(directory, 1, bytes)).close();
  return join(directory, 'raw-0');
}

function* comparisons(columns: readonly Column[], sizes: NbdSizes): Iterable<Comparison> {
  const { diskBytes, smallAreaBytes, randomReads, randomWrites, sequential, flushed } = sizes;
  const small = { requestBytes: 4 * KIB, depth: 32, areaBytes: diskBytes, flushesEach: false };
  const large = { ...small, requestBytes: MIB, depth: 8, requests: sequential };
  const durable = { ...small, access: 'randwrite', depth: 1, requests: flushed, flushesEach: true } as const;
  const rows: [string, FioWork][] = [
    ['4 KiB reads at random, 32 in flight', { ...small, access: 'randread', requests: randomReads }],
    ['4 KiB writes at random, 32 in flight', { ...small, access: 'randwrite', requests: randomWrites }],
    ['1 MiB reads in order, 8 in flight', { ...large, access: 'read' }],
    ['1 MiB writes in order, 8 in flight', { ...large, access: 'write' }],
    ['4 KiB write and flush, small area', { ...durable, areaBytes: smallAreaBytes }],
    ['4 KiB write and flush, anywhere', durable],
  ];
  for (const [title, work] of rows) {
    yield {
      title,
      roundBytes: work.requests * work.requestBytes,
      operations: work.requests,
      baseline: columns.find(({ name }) => name === NAMES.qemu)?.name ?? null,
      contenders: columns.map((column) => contender(column, work)),
    };
  }
}

/** In the same round all of them have the same seed; in every round it is another. */
function contender({ name, socket, against }: Column, work: FioWork): Contender {
  let round = 0;
  return {
    name,
    ...(against === undefined ? {} : { against }),
    run: () => {
      round += 1;
      return runFio(socket, work, round);
    },
  };
}
