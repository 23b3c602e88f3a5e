/**
 * Flags in a local file and on the storage (data journaling, paragraphs 29 and 31): what the server sees of them, and what is
 * given up, or left alone, where they are damaged, of another life, or not to be had.
 */
import { describe, expect, it } from 'vitest';
import type { BlockDevice } from '../../src/device/contract.js';
import { KEPT_FLAGS } from '../../src/extents/flags/fields.js';
import type { ExtentStore } from '../../src/extents/index.js';
import type { FlagPlace } from '../../src/metadata/flag-places.js';
import { FaultyDevice } from '../support/devices/faulty-device.js';
import type { VolatileDevice } from '../support/devices/volatile-device.js';
import {
  BLOCKS,
  contentOf,
  EXTENT_BYTES,
  filled,
  Stage,
  type StageOptions,
  VOLUME_UUID,
} from './support/stage.js';

const ELSEWHERE = ['local', 'data'] as const;

/** Two extents of the file are written, and kept. */
async function keep(store: ExtentStore, name: string, fill: number, places = 2): Promise<void> {
  await store.files.create(name, { sizeBytes: places * EXTENT_BYTES });
  const file = await store.openFile(name, { access: 'write' });
  await file.write(0, filled(places * EXTENT_BYTES, fill));
  await file.keep();
  await file.close();
}

async function kept(flags: FlagPlace, options: StageOptions = {}, places = 2): Promise<Stage> {
  const stage = await Stage.make({ ...options, flags });
  const store = await stage.open();
  await keep(store, 'disk', 7, places);
  await store.close();
  return stage;
}

/** More of that file. */
async function keepMore(stage: Stage): Promise<void> {
  const store = await stage.open();
  const file = await store.openFile('disk', { access: 'write' });
  await file.write(100, filled(10, 8));
  await file.keep();
  await store.close();
}

async function opened(stage: Stage) {
  return stage.server.request({ type: 'Open_Client', client: 'a' });
}

/** Nothing of what was kept is there, all of it is free, and it was told. */
async function isGivenUp(stage: Stage, why: RegExp): Promise<void> {
  const store = await stage.open();
  expect(store.recovery).toMatchObject({ keptFiles: 0, lostFiles: 1 });
  expect(stage.warnings).toEqual([expect.stringMatching(why)]);
  expect(stage.warnings[0]).toMatch(/^disk: what was kept of it and not committed is given up, \d+ journal/);
  const file = await store.openFile('disk', { access: 'write' });
  expect(await contentOf(file)).toEqual(filled(2 * EXTENT_BYTES, 0));
  await file.commit();
  await store.close();
  expect(await (await stage.open()).space()).toMatchObject({ journal: 0 });
  expect(stage.warnings.length).toBe(1);
  expect(await stage.findings()).toEqual([]);
}

/** Nothing is given up, nothing can be written over it, and it is there when its flags are. */
async function isLeftAlone(stage: Stage, open: () => Promise<ExtentStore>, code: string): Promise<void> {
  const store = await open();
  expect(store.recovery).toMatchObject({ keptFiles: 0, lostFiles: 0, freedJournalExtents: 0 });
  await expect(store.openFile('disk', { access: 'write' })).rejects.toMatchObject({ code });
  const { files } = await store.journal.status();
  expect(files).toMatchObject([{ name: 'disk', away: expect.any(String) }]);
  const reader = await store.openFile('disk', { access: 'read' });
  expect(await contentOf(reader)).toEqual(filled(2 * EXTENT_BYTES, 0));
  await reader.close();
  await store.close();
  const again = await stage.open();
  expect(again.recovery).toMatchObject({ keptFiles: 1 });
  expect((await contentOf(await again.openFile('disk', { access: 'write' })))[0]).toBe(7);
  await again.close();
  const unable = await open();
  expect(await unable.journal.discard()).toEqual(['disk']);
  await unable.close();
  expect(await (await stage.open()).space()).toMatchObject({ journal: 0 });
  expect(await stage.findings()).toEqual([]);
}

function failing(device: BlockDevice, faulty: FaultyDevice[]): BlockDevice {
  const wrapped = new FaultyDevice(device);
  faulty.push(wrapped);
  return wrapped;
}

async function flip(device: VolatileDevice, offset: number): Promise<void> {
  const sector = new Uint8Array(512);
  const at = offset - (offset % 512);
  await device.read(at, sector);
  sector[offset - at]! ^= 0xff;
  await device.write(at, sector);
  await device.flush();
}

/** Where the flags lie, in the place `data`. */
async function flagsExtent(stage: Stage): Promise<number> {
  const { journal } = await opened(stage);
  const found = journal.filter(({ flags }) => flags !== null);
  expect(found.length).toBe(1);
  return found[0]!.extent;
}

describe.each(ELSEWHERE)('flags in the place %s', (flags) => {
  it('are not seen by the server, which knows the associations (paragraph 29)', async () => {
    const { journal, sizes, transactions } = await opened(await kept(flags));
    const bits = journal.flatMap((one) => [...(one.flags?.marked ?? []), ...(one.flags?.cleared ?? [])]);
    expect(bits.every((byte) => byte === 0)).toBe(true);
    const places = journal.map(({ index }) => index).filter((index) => index < 10);
    expect([places.sort(), sizes.length, transactions]).toEqual([[0, 1], 1, []]);
  });

  it('say of a file that it is to be longer, and nothing else', async () => {
    const stage = await Stage.make({ flags });
    const { store, file } = await stage.openWithFile(EXTENT_BYTES);
    await file.resize(EXTENT_BYTES + 5);
    await file.keep();
    await store.close();
    await stage.crash(1, 'none');
    const again = await stage.open();
    expect((await again.openFile('disk', { access: 'write' })).sizeBytes).toBe(EXTENT_BYTES + 5);
    expect(stage.warnings).toEqual([]);
  });

  it('are as many as are written, in as many extents as they take', async () => {
    const places = 500;
    const stage = await kept(flags, { extents: 1200 }, places);
    await stage.crash(1, 'none');
    const store = await stage.open();
    const [file] = (await store.journal.status()).files;
    expect(file).toMatchObject({ extents: places, writtenBlocks: places * BLOCKS, flags });
    await store.journal.commit();
    const reader = await store.openFile('disk', { access: 'read' });
    expect(Buffer.compare(await contentOf(reader), filled(places * EXTENT_BYTES, 7))).toBe(0);
    await reader.close();
    await store.close();
    expect(await (await stage.open()).space()).toMatchObject({ journal: 0 });
    expect(await stage.findings()).toEqual([]);
  });

  it("are given up where a journal extent is not the client's any more as they say", async () => {
    const stage = await kept(flags);
    const { journal } = await opened(stage);
    const gone = journal.find(({ index }) => index === 1)!.extent;
    await stage.server.request({ type: 'Disassociate_Journal_Extent', client: 'a', extents: [gone] });
    await isGivenUp(stage, new RegExp(`journal extent ${gone} is not the client`));
  });

  it('are given up where it is associated with another extent now', async () => {
    const stage = await kept(flags);
    const { journal, sizes } = await opened(stage);
    const [{ file }, moved] = [sizes[0]!, journal.find(({ index }) => index === 1)!.extent];
    await stage.server.request({ type: 'Disassociate_Journal_Extent', client: 'a', extents: [moved] });
    await stage.server.request({
      type: 'Associate_Data_Journal',
      client: 'a',
      file,
      index: 3,
      journal: moved,
    });
    await isGivenUp(stage, /is of extent 3, not 1/);
  });

  it('of another volume are none', async () => {
    const stage = await kept(flags);
    const local = stage.localFile();
    const other = { volumeUuid: '77'.repeat(16), where: flags, local };
    const store = await stage.open({ flags: other });
    expect(store.recovery).toMatchObject({ keptFiles: 0, lostFiles: 1 });
    expect(stage.warnings).toEqual([expect.stringContaining('another volume')]);
    await store.close();
  });

  it('that cannot be written leave what is not committed as it was: it can be committed', async () => {
    const faulty: FaultyDevice[] = [];
    const stage = await Stage.make({ flags, wrap: (device) => failing(device, faulty) });
    const make = async () =>
      new FaultyDevice(stage.local, { rules: [{ operations: ['write'], latch: true }] });
    const local = { ...stage.localFile(), open: async () => null, make };
    const store = await stage.open({
      writeBehindBytes: 0,
      flags: { volumeUuid: VOLUME_UUID, where: flags, local },
    });
    await store.files.create('disk', { sizeBytes: EXTENT_BYTES });
    const file = await store.openFile('disk', { access: 'write' });
    await file.write(0, filled(EXTENT_BYTES, 7));
    if (flags === 'data') for (const device of faulty) device.addRule({ operations: ['write'], nth: 1 });
    await expect(file.keep()).rejects.toMatchObject({ code: 'IO_ERROR' });
    await file.commit();
    await store.close();
    await stage.crash(1, 'none');
    const again = await stage.open();
    expect(again.recovery.keptFiles).toBe(0);
    expect(await contentOf(await again.openFile('disk', { access: 'read' }))).toEqual(
      filled(EXTENT_BYTES, 7),
    );
    expect(await again.space()).toMatchObject({ journal: 0 });
    expect(await stage.findings()).toEqual([]);
  });
});

describe('a local file of flags', () => {
  it('has the flags of one file still, whatever a cut makes of keeping those of another', async () => {
    let isOver = false;
    for (let event = 1; !isOver; event++) {
      // The slot is short: it takes some cuts of the same write to tear it.
      for (const seed of [1, 2, 3, 4, 5, 6]) isOver = await keepsDisk(event, seed);
    }
  });

  /** A cut at this event while another file is kept. True: it was kept before that. */
  async function keepsDisk(event: number, seed: number): Promise<boolean> {
    const stage = await kept('local');
    const store = await stage.open();
    await store.files.create('other', { sizeBytes: EXTENT_BYTES });
    const other = await store.openFile('other', { access: 'write' });
    await other.write(0, filled(EXTENT_BYTES, 9));
    stage.power.cutAtEvent(stage.power.events + event);
    const isOver = await other.keep().then(
      () => true,
      () => false,
    );
    await stage.crash(seed, 'sectors');
    const again = await stage.open();
    const names = (await again.journal.status()).files.map(({ name }) => name);
    expect(names).toContain('disk');
    expect(names.includes('other') || !isOver).toBe(true);
    expect((await contentOf(await again.openFile('disk', { access: 'write' })))[0]).toBe(7);
    expect(stage.warnings).toEqual([]);
    return isOver;
  }

  it('that is not there costs what was kept', async () => {
    const stage = await kept('local');
    stage.isLocalThere = false;
    await isGivenUp(stage, /local file is not there/);
  });

  it('that is damaged costs what was kept', async () => {
    for (const [at, why] of [
      [KEPT_FLAGS.offsetOf('sequence'), /slot 0: their checksum is wrong/],
      [KEPT_FLAGS.sizeBytes + 40, /slot 0: their content is torn/],
    ] as const) {
      const stage = await kept('local');
      await flip(stage.local, at);
      await isGivenUp(stage, why);
    }
  });

  it('that is an older one, put back, costs what was kept: no mixture comes of it', async () => {
    const stage = await kept('local');
    const older = new Uint8Array(stage.local.size);
    await stage.local.read(0, older);
    await keepMore(stage);
    await stage.local.write(0, older);
    await isGivenUp(stage, /has no flags that belong to it/);
  });

  it('that cannot be had leaves what was kept alone', async () => {
    const stage = await kept('local');
    const nowhere = { volumeUuid: VOLUME_UUID, where: 'metadata' as const, local: null };
    await isLeftAlone(stage, () => stage.open({ flags: nowhere }), 'UNSUPPORTED');
    await expect(
      keep(await stage.open({ flags: { ...nowhere, where: 'local' } }), 'more', 1),
    ).rejects.toMatchObject({
      code: 'UNSUPPORTED',
    });
  });
});

describe('flags on the storage', () => {
  it('lie in an extent of their own, beyond what the file can use', async () => {
    const stage = await kept('data');
    const { journal } = await opened(stage);
    expect(journal.map(({ index }) => index).sort((a, b) => a - b)).toEqual([0, 1, 2 ** 32 - 1]);
  });

  it('that are damaged cost what was kept', async () => {
    for (const at of [KEPT_FLAGS.offsetOf('sequence'), KEPT_FLAGS.sizeBytes + 40]) {
      const stage = await kept('data');
      await flip(stage.volatile[0]!, (await flagsExtent(stage)) * EXTENT_BYTES + at);
      await isGivenUp(stage, /not whole \(extent \d+: their (checksum is wrong|content is damaged)\)/);
    }
  });

  it('of an earlier life, put back, cost what was kept: no mixture comes of it', async () => {
    const stage = await kept('data');
    const extent = await flagsExtent(stage);
    const older = new Uint8Array(EXTENT_BYTES);
    await stage.volatile[0]!.read(extent * EXTENT_BYTES, older);
    await keepMore(stage);
    const later = await flagsExtent(stage);
    // Once where it lay, and once where the later ones lie.
    await stage.volatile[0]!.write(later * EXTENT_BYTES, older);
    await isGivenUp(stage, later === extent ? /of another time/ : /copied there from elsewhere/);
  });

  it('whose target cannot be read leave what was kept alone', async () => {
    const faulty: FaultyDevice[] = [];
    const stage = await kept('data', { wrap: (device) => failing(device, faulty) });
    const range = { offset: (await flagsExtent(stage)) * EXTENT_BYTES, length: 512 };
    const open = () => {
      for (const device of faulty) device.addRule({ operations: ['read'], range, nth: 1 });
      return stage.open();
    };
    await isLeftAlone(stage, open, 'IO_ERROR');
  });

  it('that find no extent are refused, and cost nothing', async () => {
    const stage = await Stage.make({ flags: 'data', extents: 2 });
    const store = await stage.open();
    await store.files.create('disk', { sizeBytes: 2 * EXTENT_BYTES });
    const file = await store.openFile('disk', { access: 'write' });
    await file.write(0, filled(2 * EXTENT_BYTES, 7));
    await expect(file.keep()).rejects.toMatchObject({ code: 'NO_SPACE' });
    await file.keep({ flags: 'metadata' });
    await store.close();
    await stage.crash(1, 'none');
    expect((await stage.open()).recovery).toMatchObject({ keptFiles: 1 });
  });
});
