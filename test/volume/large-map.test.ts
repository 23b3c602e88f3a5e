/**
 * A volume of 1 TiB that is nearly full: maps are paged, so who opens it, and who reads or writes a little of it, reads a
 * few pages of them. What is not read takes no memory either.
 */
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { makeVolume, openCounted } from '../../src/bench/extents-volume.js';
import type { Change, MetadataEngine } from '../../src/metadata/engine/contract.js';
import { PAGE_BYTES } from '../../src/metadata/engine/layout.js';
import { key } from '../../src/metadata/server/keys.js';
import { decode, encode } from '../../src/metadata/server/records.js';
import { thenClose } from '../../src/volume/closing.js';
import { openExtents } from '../../src/volume/extents.js';
import { openVolume } from '../../src/volume/volume.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const MIB = 1024 * 1024;
const VOLUME_BYTES = MIB * MIB;
/** Of a group of the pool: a bitmap each. */
const GROUP_EXTENTS = 8192;
const FREE_EXTENTS = 1000;
/** For three extents that lie apart: a leaf each, what is above it, and what the pool and the journal take. */
const MOST_PAGES = 10;
const warn = () => undefined;

/** All extents but a few are the file's, which are put into the map as a million commits would have. */
async function fill(path: string): Promise<number> {
  const volume = await openVolume([path], { access: 'write', warn });
  return thenClose(volume, warn, async () => {
    const store = await volume.files!.store();
    const { extents } = await store.space();
    const used = extents - FREE_EXTENTS;
    const { file } = await store.files.create('disk', { sizeBytes: used * MIB });
    await volume.files!.close();
    const opened = await openExtents(volume, { warn });
    try {
      await putMap(opened.engine, file, used);
    } finally {
      await opened.close();
    }
    return used;
  });
}

async function putMap(engine: MetadataEngine, file: number, used: number): Promise<void> {
  const { map } = decode('inode', (await engine.get(key('I', file)))!);
  let changes: Change[] = [];
  for (let extent = 0; extent < used; extent++) {
    changes.push({
      key: key('E', map, extent),
      value: encode('entry', { extent: extent + 1, isShared: 0 }),
    });
    if (changes.length < GROUP_EXTENTS && extent + 1 < used) continue;
    await engine.commit(changes);
    changes = [];
  }
  for (let from = 0; from < used; from += GROUP_EXTENTS) {
    const bits = new Uint8Array(GROUP_EXTENTS / 8);
    for (let at = 0; at < GROUP_EXTENTS && from + at < used; at++) bits[at >> 3]! |= 1 << (at & 7);
    changes.push({ key: key('G', from / GROUP_EXTENTS), value: bits });
  }
  const counters = decode('counters', (await engine.get(key('K')))!);
  const full = { ...counters, freeExtents: counters.freeExtents - used, cursor: used };
  await engine.commit([...changes, { key: key('K'), value: encode('counters', full) }]);
}

it('is opened, read and written in a few pages of its map', { timeout: 240_000 }, async () => {
  const path = join(await temporaryFolder(), 'v');
  const made = await makeVolume(path, VOLUME_BYTES, { members: 1, extentBytes: MIB });
  const empty = await openCounted(made, 'read');
  await empty.volume.close();
  const before = empty.tally.metadata.take();
  const used = await fill(path);
  expect(used * MIB).toBeGreaterThan(0.99 * VOLUME_BYTES);

  for (const access of ['read', 'write'] as const) {
    const { volume, tally } = await openCounted(made, access);
    const opening = tally.metadata.take();
    const store = await volume.files!.store();
    const file = await store.openFile('disk', { access });
    for (const index of [0, Math.floor(used / 2), used - 1]) {
      const bytes = new Uint8Array(MIB);
      if (access === 'write') {
        await file.write(index * MIB, new Uint8Array(MIB).fill(7));
        await file.commit({ isComplete: true });
      }
      await file.read(index * MIB, bytes);
      expect(bytes.every((byte) => byte === (access === 'write' ? 7 : 0))).toBe(true);
    }
    const using = tally.metadata.take();
    await file.close();
    await volume.close();
    expect(opening.reads).toBeLessThanOrEqual(before.reads! + 8);
    expect(opening.readBytes).toBeLessThanOrEqual(before.readBytes! + 8 * PAGE_BYTES);
    expect(using.readBytes).toBeLessThanOrEqual(MOST_PAGES * PAGE_BYTES);
  }
});
