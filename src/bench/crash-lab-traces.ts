/** A disk and volumes, recorded for the bench of the crash lab, and explored there. */
import { copyFile, mkdir, open } from 'node:fs/promises';
import { join } from 'node:path';
import { explore } from '../crash/explorer.js';
import type { Report } from '../crash/explorer-report.js';
import { SeededRandom } from '../crash/seeded-random.js';
import type { StateDevice } from '../crash/state-device.js';
import { readTrace, type StoredTrace } from '../crash/trace-file/trace-reader.js';
import { TraceWriter } from '../crash/trace-file/trace-writer.js';
import { initialContents } from '../lab/explore/explore-trace.js';
import { recordDisk } from '../lab/record/record.js';
import { exploreVolume } from '../lab/volume/explore-volume.js';
import { NbdDevice } from '../nbd/client/nbd-device.js';
import { createVolume } from '../volume/create.js';
import { openVolume } from '../volume/index.js';
import { unixUri } from '../volume/serve-places.js';
import { MEMBERS, MIB, varied } from './bench-array.js';

const FILE = 'disk';
const CHUNK_BYTES = 64 * 1024;
const WRITE_BYTES = 4096;
const WRITES = 64;
const WRITES_A_FLUSH = 8;
const SEED = 1;

export interface Recorded {
  readonly trace: StoredTrace;
  close(): void;
}

/** Its image is full of data, and is as it was before. */
export async function recordedDisk(
  path: string,
  bytes: number,
): Promise<Recorded & { readonly image: string }> {
  const image = `${path}.img`;
  await fill(image, bytes);
  const used = `${path}.used`;
  await copyFile(image, used);
  return { ...(await recorded(used, `${path}.trace`)), image };
}

/** With this extent a volume of files, of which one is as large as half of it; null: of no files. */
export async function recordedVolume(
  path: string,
  sizeBytes: number,
  extentBytes: number | null,
): Promise<Recorded> {
  await mkdir(path);
  const directory = join(path, 'volume');
  await createVolume({
    ...{
      directory,
      members: MEMBERS,
      sizeBytes,
      chunkBytes: CHUNK_BYTES,
      layout: 'left-symmetric',
      force: false,
    },
    ...(extentBytes === null ? {} : { extents: { extentBytes } }),
  });
  if (extentBytes === null) return recorded(directory, join(path, 'trace'));
  await makeFile(directory, sizeBytes / 2);
  return recorded(directory, join(path, 'trace'), FILE);
}

async function makeFile(directory: string, sizeBytes: number): Promise<void> {
  const volume = await openVolume([directory], { access: 'write', warn: () => undefined });
  const store = await volume.files!.store();
  await store.files.create(FILE, { sizeBytes });
  await volume.close();
}

/** So many different states of it, one after another. */
export function exploredImages(
  trace: StoredTrace,
  maxImages: number,
  look: (device: StateDevice) => Promise<void>,
): Promise<Report> {
  const subject = {
    trace,
    initial: initialContents(trace),
    losesMembers: false,
    isPromise: () => false,
    obligations: () => null,
    check: () => null,
    async evaluate({ devices }: { devices(): (StateDevice | null)[] }) {
      await look(devices()[0]!);
      return { reading: null, recovery: null };
    },
  };
  return explore(subject, { seed: SEED, maxImages });
}

export function exploredVolume(trace: StoredTrace, directory: string, maxStates: number): Promise<Report> {
  const { signal } = new AbortController();
  return exploreVolume(trace, { seed: SEED, directory, signal, maxStates, maxImagesPerCut: 256, warn: fail });
}

async function recorded(disk: string, path: string, name?: string): Promise<Recorded> {
  const sink = await TraceWriter.create(path, { command: ['bench'] });
  await recordDisk(disk, {
    sink,
    sizeBytes: undefined,
    signal: new AbortController().signal,
    warn: () => undefined,
    onFault: rethrow,
    run: ({ socket, exportName }) => write(unixUri(socket, name ?? exportName, false)),
  });
  const trace = readTrace(path);
  return { trace, close: () => trace.close() };
}

async function write(uri: string): Promise<number> {
  const random = new SeededRandom(SEED);
  const disk = await NbdDevice.open(uri, { readOnly: false });
  for (let number = 1; number <= WRITES; number++) {
    const offset = WRITE_BYTES * random.below(Math.floor(disk.size / WRITE_BYTES));
    await disk.write(offset, random.bytes(WRITE_BYTES));
    if (number % WRITES_A_FLUSH === 0) await disk.flush();
  }
  await disk.close();
  return 0;
}

function rethrow(error: unknown): never {
  throw error;
}

async function fill(path: string, bytes: number): Promise<void> {
  const piece = varied(MIB);
  const file = await open(path, 'wx');
  try {
    for (let at = 0; at < bytes; at += MIB) await file.write(piece, 0, Math.min(MIB, bytes - at), at);
    await file.datasync();
  } finally {
    await file.close();
  }
}

/** What is measured is all of the check. */
function fail(message: string): never {
  throw new Error(message);
}
