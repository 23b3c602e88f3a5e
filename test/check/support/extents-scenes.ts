/** Volumes of files that are damaged on purpose, one for each finding of theirs: as a disk, or a fault, would leave them. */
import { randomBytes } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { FindingCode } from '../../../src/check/findings.js';
import { ImageFile } from '../../../src/device/image-file.js';
import { findSuperblock } from '../../../src/extents/format/superblock-copies.js';
import type { MetadataEngine } from '../../../src/metadata/engine/contract.js';
import { rootOffset } from '../../../src/metadata/engine/layout.js';
import { readHeader, readRoot } from '../../../src/metadata/engine/recovery.js';
import { encodeRoot } from '../../../src/metadata/engine/root.js';
import { key, nameKey } from '../../../src/metadata/server/keys.js';
import { decode, encode } from '../../../src/metadata/server/records.js';
import { thenClose } from '../../../src/volume/closing.js';
import { LOCAL_CLIENT } from '../../../src/volume/extents.js';
import { recoverFiles } from '../../../src/volume/extents-recovery.js';
import { openVolume } from '../../../src/volume/volume.js';
import { bitmap, withExtents, writeFile } from '../../support/extents-volumes.js';
import { rot } from './images.js';

type FilesCode = Extract<
  FindingCode,
  | 'FILES_NOT_ASSEMBLED'
  | 'EXTENTS_COPY_DAMAGED'
  | 'METADATA_COPY_DAMAGED'
  | 'METADATA_DAMAGED'
  | 'METADATA_COUNT_WRONG'
  | 'EXTENTS_LEAKED'
  | 'EXTENTS_NOT_TAKEN'
  | 'EXTENTS_COUNT_WRONG'
  | 'EXTENTS_USED_TWICE'
  | 'JOURNAL_WRONG'
  | 'TRANSACTIONS_WRONG'
  | 'MAPS_WRONG'
  | 'NAMES_WRONG'
  | 'TRANSACTIONS_UNFINISHED'
>;

/** The metadata engine begins there on the metadata image. */
const ENGINE_OFFSET = 16384;
const HEADER_BYTE = 50;

const imageOf = (directory: string): string => join(directory, 'metadata.img');
const number = (value: number): Uint8Array => encode('number', { value });

/** A file with data, and flags that are kept of another. */
async function fill(directory: string): Promise<{ file: number; kept: number }> {
  const file = await withExtents(directory, 'write', async (open) => {
    const { file } = await writeFile(open, 'one', randomBytes(8192), 'hardening');
    return file;
  });
  const warn = (): void => undefined;
  const volume = await openVolume([directory], { access: 'write', warn });
  await thenClose(volume, warn, () => recoverFiles(volume, warn));
  const { journal: kept } = await withExtents(directory, 'write', (open) =>
    writeFile(open, 'two', randomBytes(4096), 'flags'),
  );
  return { file, kept };
}

/** What the engine says is changed behind the server's back. */
async function inEngine(
  directory: string,
  change: (engine: MetadataEngine, filled: { file: number; kept: number }) => Promise<void>,
): Promise<void> {
  const filled = await fill(directory);
  await withExtents(directory, 'write', ({ engine }) => change(engine, filled));
}

async function setTaken(engine: MetadataEngine, extent: number, isTaken: boolean): Promise<void> {
  const group = (await engine.get(key('G', 0)))!;
  if (isTaken) group[extent >> 3]! |= 1 << (extent & 7);
  else group[extent >> 3]! &= ~(1 << (extent & 7));
  await engine.commit([{ key: key('G', 0), value: group }]);
}

async function withEngineImage(
  path: string,
  use: (image: ImageFile, range: { device: ImageFile; offset: number; length: number }) => Promise<void>,
): Promise<void> {
  const image = await ImageFile.open(path, { readOnly: false });
  try {
    const { superblock } = (await findSuperblock(image))!;
    await use(image, { device: image, ...superblock.metadata! });
    await image.flush();
  } finally {
    await image.close();
  }
}

/** The root of the engine on this image counts other keys than its tree has. */
export function miscount(path: string): Promise<void> {
  return withEngineImage(path, async (_, range) => {
    const { halves, header } = await readHeader(range);
    const { root } = await readRoot(halves, header);
    const entries = root.entries + 7;
    await halves.write(rootOffset(root.generation), encodeRoot({ ...root, entries }, header.uuid));
  });
}

/** `directory` holds a volume on RAID-5 with a metadata image and a journal image. */
export const FILES_SCENES: Readonly<Record<FilesCode, (directory: string) => Promise<unknown>>> = {
  FILES_NOT_ASSEMBLED: (directory) => rm(join(directory, 'journal.img')),
  EXTENTS_COPY_DAMAGED: (directory) => rot(imageOf(directory), 100),
  METADATA_COPY_DAMAGED: (directory) => rot(imageOf(directory), ENGINE_OFFSET + HEADER_BYTE),
  METADATA_DAMAGED: (directory) =>
    withEngineImage(imageOf(directory), async (_, range) => {
      const { halves } = await readHeader(range);
      for (const half of ['A', 'B'] as const)
        await rot(imageOf(directory), halves.offsetIn(half, HEADER_BYTE));
    }),
  METADATA_COUNT_WRONG: (directory) => miscount(imageOf(directory)),
  EXTENTS_LEAKED: (directory) => inEngine(directory, (engine) => setTaken(engine, 20, true)),
  EXTENTS_NOT_TAKEN: (directory) => inEngine(directory, (engine, { kept }) => setTaken(engine, kept, false)),
  EXTENTS_COUNT_WRONG: (directory) =>
    inEngine(directory, async (engine) => {
      const counters = decode('counters', (await engine.get(key('K')))!);
      const changed = { ...counters, freeExtents: counters.freeExtents - 1 };
      await engine.commit([{ key: key('K'), value: encode('counters', changed) }]);
    }),
  EXTENTS_USED_TWICE: (directory) =>
    inEngine(directory, async (engine, { kept }) => {
      const entry = encode('entry', { extent: kept + 1, isShared: 0 });
      await engine.commit([{ key: key('E', 1, 7), value: entry }]);
    }),
  JOURNAL_WRONG: (directory) =>
    inEngine(directory, (engine, { kept }) => engine.commit([{ key: key('j', 1, kept), value: null }])),
  TRANSACTIONS_WRONG: (directory) =>
    inEngine(directory, (engine) => engine.commit([{ key: key('z', 99, 1), value: number(0) }])),
  MAPS_WRONG: (directory) =>
    inEngine(directory, async (engine) => {
      const map = decode('map', (await engine.get(key('M', 1)))!);
      await engine.commit([{ key: key('M', 1), value: encode('map', { ...map, files: 2 }) }]);
    }),
  NAMES_WRONG: (directory) =>
    inEngine(directory, (engine) =>
      engine.commit([
        { key: nameKey('N', 'one'), value: null },
        { key: nameKey('N', 'nobody'), value: number(4711) },
      ]),
    ),
  TRANSACTIONS_UNFINISHED: (directory) =>
    withExtents(directory, 'write', async (open) => {
      const { file } = await writeFile(open, 'one', randomBytes(8192), 'hardening');
      const { extents } = await open.service.request({
        type: 'Allocate_Journal_Space',
        client: LOCAL_CLIENT,
        count: 1,
      });
      const flags = { file, index: 0, journal: extents[0]!, marked: bitmap(1), cleared: bitmap(0) };
      await open.service.request({
        type: 'Harden_Extent_Flags',
        client: LOCAL_CLIENT,
        extents: [flags],
        sizes: [],
        starts: true,
      });
    }),
};
