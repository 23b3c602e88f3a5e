/**
 * Every field of a member's superblock at its extremes, with the checksum made right again, on real files: of
 * one member, and of all of them alike. Whatever is done with such a volume ends, with a result or with an
 * error that a user can act on; looking never writes, and writing is refused or leaves the volume well.
 *
 * In one process, as there are hundreds of these; what the binary makes of the errors is the subject of others.
 */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { UserError } from '../../src/errors.js';
import { MAX_DEV_V1, SUPERBLOCK_V1 } from '../../src/raid/md/fields-superblock.js';
import { checksumV1 } from '../../src/raid/md/superblock-v1.js';
import { type Field, fieldBytes } from '../../src/structure.js';
import {
  createVolume,
  examineImages,
  openVolume,
  readStream,
  type Volume,
  volumeStatus,
  writeStream,
} from '../../src/volume/index.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const folder = await temporaryFolder();
const directory = join(folder, 'volume');
const content = Buffer.alloc(64 * 1024, 'what was there before. ');
const SUPER_OFFSET = 4096;
const SUPER_BYTES = 4096;
let images: readonly string[] = [];
let originals: readonly Buffer[] = [];

const EXTREMES: Readonly<Record<number, readonly bigint[]>> = {
  1: [0n, 0xffn],
  2: [0n, 0x8000n, 0xffffn],
  4: [0n, 7n, 0x7fff_ffffn, 0x8000_0000n, 0xffff_ffffn],
  8: [0n, 9n, 0x7fff_ffff_ffff_ffffn, 0xffff_ffff_ffff_ffffn],
};

function store(raw: Uint8Array, field: Field, value: bigint): void {
  const size = fieldBytes(field);
  if (field.type === 'bytes') raw.fill(Number(value), field.offset, field.offset + size);
  else for (let at = 0; at < size; at++) raw[field.offset + at] = Number((value >> BigInt(8 * at)) & 0xffn);
}

/** The superblock's checksum covers as many roles as max_dev says, where the image has them. */
function forge(original: Buffer, field: Field, value: bigint): Buffer {
  const image = Buffer.from(original);
  const raw = image.subarray(SUPER_OFFSET, SUPER_OFFSET + SUPER_BYTES);
  store(raw, field, value);
  const view = SUPERBLOCK_V1.at(raw);
  const maxDev = view.number('max_dev');
  if (maxDev <= MAX_DEV_V1) view.setNumber('sb_csum', checksumV1(raw, maxDev));
  return image;
}

async function put(contents: readonly Buffer[]): Promise<void> {
  for (const [index, bytes] of contents.entries()) await writeFile(images[index]!, bytes);
}

async function expectUntouched(contents: readonly Buffer[], what: string): Promise<void> {
  for (const [index, bytes] of contents.entries()) {
    expect((await readFile(images[index]!)).equals(bytes), `${what}: image ${index} is as it was`).toBe(true);
  }
}

/** An error that is the user's to act on is an outcome; any other is the fault that is looked for. */
async function outcome<T>(work: () => Promise<T>): Promise<T | UserError> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    expect(error.message).not.toBe('');
    return error;
  }
}

async function using(access: 'read' | 'write', use: (volume: Volume) => Promise<unknown>): Promise<void> {
  const volume = await openVolume([directory], { access, warn: () => undefined });
  try {
    await use(volume);
  } finally {
    await volume.close();
  }
}

async function readAll(volume: Volume): Promise<void> {
  for await (const bytes of readStream(volume.device, 0, volume.device.size))
    expect(bytes.length).toBeGreaterThan(0);
}

async function* newContent(): AsyncGenerator<Uint8Array> {
  yield content.subarray(0, 3000);
}

async function use(contents: readonly Buffer[]): Promise<void> {
  await put(contents);
  await outcome(() => volumeStatus([directory]));
  await outcome(() => examineImages(images));
  await outcome(() => using('read', readAll));
  await outcome(() => using('read', (volume) => volume.array!.scrub({ repair: false })));
  await expectUntouched(contents, 'after looking');
  const written = await outcome(() =>
    using('write', (volume) => writeStream(volume.device, 1, newContent())),
  );
  if (written instanceof UserError)
    return expectUntouched(contents, `after a write that ended with ${written.message}`);
  const status = await volumeStatus([directory]);
  expect(['clean', 'degraded', 'rebuilding']).toContain(status.state);
}

beforeAll(async () => {
  await mkdir(directory);
  const sizes = { members: 3, sizeBytes: content.length, chunkBytes: 4096 };
  const made = await createVolume({ directory, ...sizes, layout: 'left-symmetric', force: false });
  images = made.images;
  await using('write', (volume) =>
    writeStream(
      volume.device,
      0,
      (async function* () {
        yield content;
      })(),
    ),
  );
  originals = await Promise.all(images.map((image) => readFile(image)));
});

const FIELDS = SUPERBLOCK_V1.fields
  .filter(({ name }) => name !== 'sb_csum')
  .map((field) => [field.name, field] as const);

it('without a change, and with one that means nothing, it is well', async () => {
  await use(originals);
  expect((await volumeStatus([directory])).state).toBe('clean');
  const corrected = SUPERBLOCK_V1.fields.find(({ name }) => name === 'cnt_corrected_read')!;
  await use(originals.map((image) => forge(image, corrected, 7n)));
  expect((await volumeStatus([directory])).state).toBe('clean');
});

describe.each(['one member', 'all members'])('of %s', (which) => {
  it.each(FIELDS)('%s', async (_name, field) => {
    for (const value of EXTREMES[field.type === 'bytes' ? 1 : fieldBytes(field)]!) {
      const isForged = (index: number): boolean => which === 'all members' || index === 1;
      await use(originals.map((image, index) => (isForged(index) ? forge(image, field, value) : image)));
    }
  });
});
