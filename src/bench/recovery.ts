/**
 * Recovery of a volume that was not closed: how long it takes, and what it reads and writes, against the number of
 * stripes that were being written and against the size of the volume. Images are sparse; what was dirty is data.
 *
 * The whole of `holdfast recover` is in the time: finding the images, opening and closing them, records, parity,
 * superblocks. The command beside it is a process of its own, with all that Node takes to start.
 */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { interpose } from '../device/open-image.js';
import { packagePath } from '../package-root.js';
import { createVolume } from '../volume/create.js';
import { openVolume } from '../volume/index.js';
import type { Bench, BenchContext, Comparison, Contender, Sample } from './bench.js';
import { MEMBERS, MIB, openBenchArray } from './bench-array.js';
import { CountingDevice, DeviceTally, measured } from './counting-device.js';

const GIB = 1024 * MIB;
const CHUNK_BYTES = 64 * 1024;
const STRIPE_BYTES = CHUNK_BYTES * (MEMBERS - 1);
const WRITE = new Uint8Array(4096).fill(0xa7);
/** A sector that the parity of what is written never holds. */
const SPOILT = new Uint8Array(512).fill(0x5c);

const execute = promisify(execFile);

export interface RecoverySizes {
  /** Of volumes, as they are called; the first is what the others are compared with. */
  readonly volumes: ReadonlyMap<string, number>;
  /** Of all of `volumes`. */
  readonly dirtyStripes: number;
  /** Against numbers of dirty stripes: of this volume, which is one of `volumes`. */
  readonly counted: { readonly volume: string; readonly dirtyStripes: readonly number[] };
  /** Whether the command is run too. */
  readonly command: boolean;
}

const SIZES: RecoverySizes = {
  volumes: new Map([
    ['1 GiB', GIB],
    ['64 GiB', 64 * GIB],
    ['1 TiB', 1024 * GIB],
  ]),
  dirtyStripes: 100,
  counted: { volume: '64 GiB', dirtyStripes: [1, 10, 100, 1000] },
  command: true,
};

interface SparseVolume {
  readonly label: string;
  readonly directory: string;
  readonly images: readonly string[];
}

export const recovery: Bench = recoveryOf(SIZES);

export function recoveryOf(sizes: RecoverySizes): Bench {
  return {
    name: 'recovery',
    title: `Recovery of volumes of ${MEMBERS} members that were not closed`,
    prepare: async ({ directory }: BenchContext) => {
      const volumes = new Map<string, SparseVolume>();
      for (const [label, sizeBytes] of sizes.volumes) {
        volumes.set(label, await sparseVolume(join(directory, label.replace(' ', '-')), label, sizeBytes));
      }
      return {
        comparisons: () => comparisons(volumes, sizes),
        notes: NOTES,
        close: () => Promise.resolve(),
      };
    },
  };
}

const NOTES = [
  'recover: the volume is opened for writing, which recovers it, and closed. command: `holdfast recover` in a process of its own.',
  'Speeds count the bytes of the stripes that were dirty. In each of them parity is wrong, and made anew.',
  'An operation is one recovery. Page cache: all that is read is in it.',
];

async function sparseVolume(directory: string, label: string, sizeBytes: number): Promise<SparseVolume> {
  const { images } = await createVolume({
    directory,
    members: MEMBERS,
    sizeBytes,
    chunkBytes: CHUNK_BYTES,
    layout: 'left-symmetric',
    force: false,
  });
  return { label, directory, images };
}

function* comparisons(
  volumes: ReadonlyMap<string, SparseVolume>,
  { counted, dirtyStripes, command }: RecoverySizes,
): Iterable<Comparison> {
  const volume = volumes.get(counted.volume)!;
  for (const stripes of counted.dirtyStripes) {
    yield {
      title: `${stripes} dirty ${stripes === 1 ? 'stripe' : 'stripes'} of ${volume.label}`,
      roundBytes: stripes * STRIPE_BYTES,
      operations: 1,
      baseline: null,
      contenders: contenders('', volume, stripes, command),
    };
  }
  yield {
    title: `${dirtyStripes} dirty stripes`,
    roundBytes: dirtyStripes * STRIPE_BYTES,
    operations: 1,
    baseline: nameOf('recover', [...volumes.values()][0]!.label),
    contenders: [...volumes.values()].flatMap((each) => contenders(each.label, each, dirtyStripes, command)),
  };
}

function contenders(
  suffix: string,
  volume: SparseVolume,
  stripes: number,
  withCommand: boolean,
): Contender[] {
  const recover: Contender = {
    name: nameOf('recover', suffix),
    run: async () => {
      await makeDirty(volume, stripes);
      return recoverCounted(volume, stripes);
    },
  };
  const command: Contender = {
    name: nameOf('command', suffix),
    run: async () => {
      await makeDirty(volume, stripes);
      return runCommand(volume, stripes);
    },
  };
  return withCommand ? [recover, command] : [recover];
}

function nameOf(what: string, suffix: string): string {
  return suffix === '' ? what : `${what}, ${suffix}`;
}

/** Writes to so many stripes, far from each other; their parity is wrong when the power goes. */
async function makeDirty({ images }: SparseVolume, count: number): Promise<void> {
  const opened = await openBenchArray(images, { readOnly: false });
  const { array } = opened;
  try {
    const { geometry, slots } = array.core;
    const stripes = Array.from({ length: count }, (_, index) =>
      Math.floor(((index + 0.5) * geometry.stripes) / count),
    );
    await array.writeBatch(stripes.map((stripe) => ({ offset: stripe * STRIPE_BYTES, from: WRITE })));
    for (const stripe of stripes) {
      const parity = slots[geometry.parityMember(stripe)]!.member!;
      await parity.write(stripe * CHUNK_BYTES, SPOILT);
    }
  } finally {
    await opened.abandon();
  }
}

/** Every device that is opened for it is counted. */
async function recoverCounted({ directory }: SparseVolume, stripes: number): Promise<Sample> {
  const tally = new DeviceTally();
  const remove = interpose((image) => new CountingDevice(image, tally));
  try {
    return await measured(tally, async () => {
      const volume = await openVolume([directory], { access: 'write', warn: () => undefined });
      await volume.close();
      assertRecovered(volume.recovery, stripes);
    });
  } finally {
    remove();
  }
}

async function runCommand({ directory }: SparseVolume, stripes: number): Promise<Sample> {
  const arguments_ = [packagePath('bin', 'run.js'), 'recover', directory, '--json'];
  const start = process.hrtime.bigint();
  const { stdout } = await execute(process.execPath, arguments_);
  const seconds = Number(process.hrtime.bigint() - start) / 1e9;
  assertRecovered(JSON.parse(stdout).result, stripes);
  return { seconds };
}

function assertRecovered(
  recovered: { readonly resyncedStripes: number; readonly correctedStripes: number } | null,
  stripes: number,
): void {
  if (recovered?.resyncedStripes === stripes && recovered.correctedStripes === stripes) return;
  throw new Error(`of ${stripes} dirty stripes were recovered: ${JSON.stringify(recovered)}`);
}
