/**
 * What the dirty-stripe record costs: records for each write, barriers for each write that is flushed, and the speed
 * of long writes.
 *
 * Before a stripe is written a record that names it has to be durable, and after the write a flush: two waits for the
 * disk where a plain file has one. A stripe that is listed already takes one. So next to two plain files, written and
 * flushed at the same time as data and parity are, a half is all that unlisted stripes can come to with one writer.
 *
 * While a record is on its way, all others gather in the next; and the next waits as long as each turn of the event
 * loop brings another write (record-intent.ts, gather). So 64 writers pay at most one for 32 writes, mostly for 40.
 *
 * What was measured (two cores of an AMD EPYC that others kept busy, Node 20.20, ext4; 0.5 ms for a 4 KiB write and a
 * flush of two files, one writer) and what was done:
 * - A flush of all four members took threads that others waited for: of a file that has taken nothing since its last
 *   sync none is asked for any more.
 * - A record took 0.18 ms of the processor, most of it hashes of superblocks that had not changed and views of
 *   entries: 0.11 ms now.
 * - Who writes alone has nobody to wait for: its record is written while it reads what makes its parity. Unlisted
 *   stripes went from 0.37 to 0.45 of the files' speed by these three, listed ones from 0.6 to 0.7.
 * - Writes at random looked like streams now and then, and had records written ahead: a stream has to prove itself.
 * - Reads do not leave the thread when the page cache has it all (src/device/prompt-reads.ts): with 16 writers listed
 *   stripes went from 0.80 to 1.03, with one from 0.68 to 0.73. Writers that do not wait for their reads came one by
 *   one, and 64 of them had one record for 26 to 30 writes, until the record waited for them.
 * - Small writes into the page cache do not leave it either (src/device/prompt-writes.ts): one writer on listed stripes
 *   went from 0.68 to between 0.85 and 1.08.
 *
 * Tried on copies of the code, and not kept:
 * - A flush of the cache that has one block to write does it with fua: no gain that could be told from chance.
 * - More threads (8, 16): none either; the files gained more.
 */
import type { Bench, BenchContext, Comparison, Contender } from './bench.js';
import { type BenchArray, MEMBERS, MIB, makeArray, openBenchArray, varied } from './bench-array.js';
import { measured } from './counting-device.js';
import { type Opened, prepareInSteps } from './prepare.js';
import { RawFiles } from './raw-files.js';
import {
  BLOCK_BYTES,
  differentStripes,
  fewStripes,
  listAll,
  listNothing,
  measuredRecords,
} from './record-arrays.js';
import { inOrder, perform, performWrites, totalBytes, type Workload } from './workload.js';

export interface RecordSizes {
  /** Of each member's data; whole MiB, and more stripes than any round has requests. */
  readonly memberBytes: number;
  /** Requests of a round, by writers. */
  readonly writers: ReadonlyMap<number, number>;
  readonly flushers: ReadonlyMap<number, number>;
  readonly sequentialRequests: number;
}

const SIZES: RecordSizes = {
  memberBytes: 64 * MIB,
  writers: new Map([
    [1, 128],
    [8, 512],
    [64, 960],
  ]),
  flushers: new Map([
    [1, 192],
    [16, 768],
  ]),
  sequentialRequests: 128,
};

/** As many files as a small write goes to members. */
const FILES = 2;

interface Stacks {
  readonly raw: RawFiles;
  /** With a cache above; the array is also written behind its back, which only counts and times do not mind. */
  readonly kept: BenchArray;
  readonly bare: BenchArray;
  readonly sizes: RecordSizes;
}

const TITLE = `The dirty-stripe record of an array of ${MEMBERS} members: what it costs writes`;

export function recordOf(sizes: RecordSizes): Bench {
  const prepare = ({ directory }: BenchContext) =>
    prepareInSteps(async (opened) => {
      const open = (name: string, record: boolean) => openArray(directory, name, sizes, record, opened);
      const raw = await RawFiles.make(directory, FILES, sizes.memberBytes);
      opened(() => raw.close());
      const stacks = { raw, kept: await open('kept', true), bare: await open('bare', false), sizes };
      return { notes: NOTES, comparisons: () => comparisons(stacks) };
    });
  return { name: 'record', title: TITLE, prepare };
}

const NOTES = [
  'listed: the newest record names all stripes that are written; unlisted: none of them. A record is two copies.',
  'two files: each request writes 4 KiB to both and flushes both. array: without a cache; volume: with it; fua: one write that is durable when it ends.',
  'flushes are what members are asked for; barriers are file syncs and writes with fua, copies of records among them.',
  'When a round begins the array is active and nothing is dirty. Page cache: what is read is in it.',
];

async function openArray(
  directory: string,
  name: string,
  { memberBytes }: RecordSizes,
  record: boolean,
  opened: Opened,
): Promise<BenchArray> {
  const images = await makeArray(directory, name, memberBytes);
  const array = await openBenchArray(images, { readOnly: false, cache: true, record });
  opened(array.close);
  return array;
}

function* comparisons(stacks: Stacks): Iterable<Comparison> {
  const { writers, flushers } = stacks.sizes;
  for (const [depth, count] of writers) yield concurrent(stacks, depth, count);
  for (const [depth, count] of flushers) yield flushed(stacks, depth, count);
  yield sequential(stacks, 'array');
  yield sequential(stacks, 'volume');
}

const BLOCK = varied(BLOCK_BYTES);

type Request = (offset: number) => Promise<void>;
type State = 'listed' | 'unlisted';

/** 4 KiB writes by so many at a time: how many records they take. */
function concurrent({ kept }: Stacks, depth: number, count: number): Comparison {
  const rounds = smallWrites(kept, depth, count);
  const request: Request = (offset) => kept.array.write(offset, BLOCK);
  return {
    title: `4 KiB at random, ${depth} ${depth === 1 ? 'writer' : 'writers'}`,
    roundBytes: count * BLOCK_BYTES,
    operations: count,
    baseline: 'listed',
    contenders: [rounds('listed', 'listed', request), rounds('unlisted', 'unlisted', request)],
  };
}

/** The same with a flush after each, beside two files. */
function flushed({ raw, kept }: Stacks, depth: number, count: number): Comparison {
  const { array } = kept;
  const volume = kept.volume!;
  const rounds = smallWrites(kept, depth, count);
  const onArray: Request = (offset) => array.write(offset, BLOCK).then(() => array.flush());
  const onVolume: Request = (offset) => volume.write(offset, BLOCK).then(() => volume.flush());
  const withFua: Request = (offset) => array.write(offset, BLOCK, { fua: true });
  const workload = { requestBytes: BLOCK_BYTES, depth, title: '' };
  const files: Contender = {
    name: 'two files',
    run: () =>
      measured(raw.tally, () =>
        perform({ ...workload, offsets: differentStripes(count, array.size) }, (offset) =>
          toBoth(raw, offset),
        ),
      ),
  };
  return {
    title: `4 KiB and a flush, ${depth} ${depth === 1 ? 'writer' : 'writers'}`,
    roundBytes: count * BLOCK_BYTES,
    operations: count,
    baseline: files.name,
    contenders: [
      files,
      rounds('array, listed', 'listed', onArray),
      rounds('array, unlisted', 'unlisted', onArray),
      rounds('fua, listed', 'listed', withFua),
      rounds('fua, unlisted', 'unlisted', withFua),
      rounds('volume, listed', 'listed', onVolume),
      rounds('volume, unlisted', 'unlisted', onVolume),
    ],
  };
}

function smallWrites(
  kept: BenchArray,
  depth: number,
  count: number,
): (name: string, state: State, request: Request) => Contender {
  const { size } = kept.array;
  const unlisted = differentStripes(count, size);
  const listed = fewStripes(count, size);
  return (name, state, request) => ({
    name,
    run: async () => {
      if (state === 'listed') await listAll(kept, listed);
      else await listNothing(kept);
      const offsets = state === 'listed' ? listed : unlisted;
      return measuredRecords(kept, () =>
        perform({ title: '', requestBytes: BLOCK_BYTES, offsets, depth }, request),
      );
    },
  });
}

/** The same place in two files, which lie in turn in the space of both. */
async function toBoth(raw: RawFiles, offset: number): Promise<void> {
  const within = offset % MIB;
  const first = Math.floor(offset / MIB / (MEMBERS - 1)) * FILES * MIB + within;
  await Promise.all([raw.write(first, BLOCK), raw.write(first + MIB, BLOCK)]);
  await raw.flush();
}

/** Long writes, with the record and without. */
function sequential({ kept, bare, sizes }: Stacks, through: 'array' | 'volume'): Comparison {
  const workload: Workload = {
    title: `${through}: 1 MiB in order, 16 in flight`,
    requestBytes: MIB,
    offsets: inOrder(sizes.sequentialRequests, MIB),
    depth: 16,
  };
  const data = varied(MIB);
  const contender = (name: string, opened: BenchArray): Contender => {
    const to = through === 'array' ? opened.array : opened.volume!;
    return {
      name,
      run: async () => {
        await listNothing(opened);
        return measuredRecords(opened, () => performWrites(workload, to, data));
      },
    };
  };
  return {
    title: workload.title,
    roundBytes: totalBytes(workload),
    operations: workload.offsets.length,
    baseline: 'without a record',
    contenders: [contender('without a record', bare), contender('with it', kept)],
  };
}

export const record: Bench = recordOf(SIZES);
