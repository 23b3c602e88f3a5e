/**
 * The crash lab: how soon the states that a power cut may leave are there to be looked at, beside a plain copy of the image for each;
 * and how many a second are held to what must hold of volumes, without anybody's command.
 */
import { join } from 'node:path';
import type { Bench, BenchContext, Comparison, Contender, Sample } from './bench.js';
import { MIB } from './bench-array.js';
import { CopiedStates, ShownStates, type StatesShown } from './crash-lab-states.js';
import { exploredImages, exploredVolume, recordedDisk, recordedVolume } from './crash-lab-traces.js';
import { prepareInSteps } from './prepare.js';

export interface CrashLabSizes {
  /** Of disks: how many different states are looked at there. */
  readonly disks: ReadonlyMap<number, number>;
  /** Of volumes. */
  readonly volumeBytes: number;
  /** That are looked at in a round. */
  readonly volumeStates: number;
}

const SIZES: CrashLabSizes = {
  disks: new Map([
    [MIB, 400],
    [16 * MIB, 200],
    [256 * MIB, 40],
    [1024 * MIB, 10],
  ]),
  volumeBytes: 16 * MIB,
  volumeStates: 20_000,
};

export const crashLab: Bench = crashLabOf(SIZES);

export function crashLabOf(sizes: CrashLabSizes): Bench {
  return {
    name: 'crash-lab',
    title: 'States of recorded disks and volumes',
    prepare: ({ directory }: BenchContext) =>
      prepareInSteps(async () => ({ comparisons: () => comparisons(directory, sizes), notes: NOTES })),
  };
}

const NOTES = [
  'States of a disk: 64 writes of 4 KiB, eight between two flushes; each different state is put on a file. copy: the image is copied and the writes are made; changed: as crash explore does it. with a command: and `true` runs on it, by the shell, one at a time.',
  'An operation is a state. Speeds count the whole image for each of them. changed: the first file, which is a whole one, is made in the round that is not counted.',
  'Volumes: states of crash explore without a --check, on one core. images: those that differ, which are opened, recovered, read and opened again; the others were seen before, and are held to what is owed.',
];

async function* comparisons(directory: string, sizes: CrashLabSizes): AsyncIterable<Comparison> {
  for (const [bytes, states] of sizes.disks) {
    yield await statesOfDisk(directory, { bytes, states, command: null });
    yield await statesOfDisk(directory, { bytes, states, command: 'true' });
  }
  for (const kind of ['RAID-5', 'files on RAID-5'] as const)
    yield await statesOfVolume(directory, kind, sizes);
}

interface DiskStates {
  readonly bytes: number;
  readonly states: number;
  readonly command: string | null;
}

async function statesOfDisk(directory: string, of: DiskStates): Promise<Comparison> {
  const name = `${of.bytes / MIB}-MiB${of.command === null ? '' : '-command'}`;
  const { trace, image, close } = await recordedDisk(join(directory, name), of.bytes);
  const contender = (called: string, states: StatesShown): Contender => ({
    name: called,
    run: () =>
      timed(async () => {
        const { images } = await exploredImages(trace, of.states, (device) => states.show(device));
        return { images };
      }),
  });
  const place = (way: string) => ({ path: join(directory, `${name}.${way}`), command: of.command });
  const copied = new CopiedStates(image, place('copied'));
  const changed = new ShownStates(place('changed'));
  const shown = [copied, changed];
  return {
    title: `${of.bytes / MIB} MiB${of.command === null ? '' : ', with a command'}`,
    roundBytes: of.states * of.bytes,
    operations: of.states,
    baseline: 'copy',
    contenders: [contender('copy', copied), contender('changed', changed)],
    close: async () => {
      for (const each of shown) await each.end();
      close();
    },
  };
}

async function statesOfVolume(
  directory: string,
  kind: 'RAID-5' | 'files on RAID-5',
  { volumeBytes, volumeStates }: CrashLabSizes,
): Promise<Comparison> {
  const { trace, close } = await recordedVolume(
    join(directory, kind.replaceAll(' ', '-')),
    volumeBytes,
    kind === 'RAID-5' ? null : MIB,
  );
  const run = () =>
    timed(async () => {
      const { states, images, checks } = await exploredVolume(trace, directory, volumeStates);
      return { states, images, checks };
    });
  return {
    title: `${volumeBytes / MIB} MiB, ${kind}`,
    roundBytes: volumeStates * volumeBytes,
    operations: volumeStates,
    baseline: null,
    contenders: [{ name: 'built-in check', run }],
    close,
  };
}

async function timed(work: () => Promise<NonNullable<Sample['counts']>>): Promise<Sample> {
  const started = performance.now();
  const counts = await work();
  return { seconds: (performance.now() - started) / 1000, counts };
}
