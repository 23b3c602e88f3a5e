/** What of a map file counts when something of it has rotted, is gone, or belongs to another one: what is in doubt is set. */
import { crc32c } from '@node-rs/crc32';
import { describe, expect, it } from 'vitest';
import { MemoryDevice } from '../../../src/device/memory.js';
import { MAP_HEADER, MAP_PAGE } from '../../../src/replication/map/fields.js';
import { MapFile } from '../../../src/replication/map/map-file.js';
import { mapFileBytes } from '../../../src/replication/map/page.js';
import { PAGE_BITS } from '../../../src/replication/map/words.js';
import { rot } from '../log/log-stage.js';
import { BLOCKS, inPage, mapStage, ownerOf, setDurably } from './map-stage.js';

/** Bits in pages 1, 2, and the last, which is short. */
async function three() {
  const own = await mapStage();
  await setDurably(own.file, inPage(1, 5), inPage(2, 6), inPage(19, 7));
  return own;
}

const FULL = (page: number) => ({ from: page * PAGE_BITS, count: PAGE_BITS });

describe('a page', () => {
  it('that has rotted counts as full, and its file, offset and blocks are named', async () => {
    const { memory, open, at } = await three();
    await rot(memory, at('blocks', 1) + 100);
    const { file, damage } = await open();
    expect(damage).toEqual([
      `replica.map: page 1 of the map at offset ${at('blocks', 1)}, 512 bytes, cannot be used: its checksum is wrong; blocks 3840 to 7679 all count as in it`,
    ]);
    expect([...file.map.runs()]).toEqual([FULL(1), inPage(2, 6), inPage(19, 7)]);
  });

  it('that is named and not there counts as full; the last one is short', async () => {
    const { memory, open, at } = await three();
    await memory.writeZeroes(at('blocks', 19), 512);
    const { file, damage } = await open();
    expect(damage[0]).toMatch(/page 19 .* cannot be used: there is none; blocks 72960 to 76699 all count/);
    expect(file.map.rangesFrom(2 * PAGE_BITS + 7, BLOCKS)).toEqual([
      { from: 19 * PAGE_BITS, count: PAGE_BITS - 100 },
    ]);
  });

  it('that cannot be read counts as full', async () => {
    const { device, open, at } = await three();
    device.addRule({ operations: ['read'], range: { offset: at('blocks', 2), length: 512 } });
    const { file, damage } = await open();
    expect(damage[0]).toMatch(/page 2 .* cannot be used: it cannot be read: /);
    expect([...file.map.runs()]).toEqual([inPage(1, 5), FULL(2), inPage(19, 7)]);
  });

  it('that lies in the place of another counts as full', async () => {
    const { memory, open, at } = await three();
    const page = new Uint8Array(512);
    await memory.read(at('blocks', 1), page);
    await memory.write(at('blocks', 2), page);
    expect((await open()).damage[0]).toMatch(/page 2 .* cannot be used: page 1 lies there/);
  });

  it('that is not named does not count, whatever lies there', async () => {
    const { memory, file, open, at } = await three();
    const page = new Uint8Array(512);
    await memory.read(at('blocks', 1), page);
    file.map.clear(inPage(1, 5));
    await file.release();
    await memory.write(at('blocks', 1), page);
    const { file: again, damage } = await open();
    expect(damage).toEqual([]);
    expect(again.map.equals(file.map)).toBe(true);
  });

  it('that was no good is good again when it is written, with as much as the map has of it', async () => {
    const { memory, open, at } = await three();
    await rot(memory, at('blocks', 1) + 100);
    const { file } = await open();
    expect(file.isPersisted([inPage(1)])).toBe(false);
    await file.persist([inPage(1)]);
    expect((await open()).damage).toEqual([]);
    expect((await open()).file.map.has(inPage(1, 77).from)).toBe(true);
    for (const number of [1, 2]) await rot(memory, at('blocks', number) + 100);
    const { file: again } = await open();
    again.map.clear(FULL(1));
    again.map.clear({ from: FULL(2).from, count: 3000 });
    await again.release();
    const { file: last, damage } = await open();
    expect(damage).toEqual([]);
    expect([...last.map.runs()]).toEqual([inPage(2, 3000, 840), inPage(19, 7)]);
  });
});

describe('a page of the auxiliary map', () => {
  it('that names a page past the last is no good', async () => {
    const { memory, open, at } = await three();
    const bytes = new Uint8Array(512);
    await memory.read(at('pages', 0), bytes);
    MAP_PAGE.at(bytes).bytes('bits')[2]! |= 0x10;
    MAP_PAGE.at(bytes).setNumber('checksum', crc32c(bytes.subarray(4)));
    await memory.write(at('pages', 0), bytes);
    expect((await open()).damage[0]).toMatch(/auxiliary map .* is damaged: it has bits past the last/);
  });

  it('that is no good has all pages looked at that it could name: those that are not there count as full', async () => {
    const { memory, open, at } = await three();
    await rot(memory, at('pages', 0) + 100);
    const { file, damage } = await open();
    expect(damage[0]).toBe(
      'replica.map: page 0 of the auxiliary map at offset 8192 is damaged: its checksum is wrong; each of the pages 0 to 19 of the map is looked at',
    );
    expect(damage.slice(1).map((each) => /blocks \d+ to \d+/.exec(each)?.[0])).toEqual([
      'blocks 0 to 3839',
      'blocks 11520 to 72959',
    ]);
    expect(file.map.rangesFrom(PAGE_BITS, PAGE_BITS)).toEqual([
      inPage(1, 5),
      inPage(2, 6),
      { from: 3 * PAGE_BITS, count: PAGE_BITS - 2 },
    ]);
    // And it is good again with the next round; what it names then and is not there still counts as full.
    await setDurably(file, inPage(1, 9));
    const next = await open();
    expect(next.damage.length).toBe(2);
    expect(next.file.map.equals(file.map)).toBe(true);
    for (const page of [0, ...Array.from({ length: 16 }, (_, each) => each + 3)])
      next.file.map.clear(FULL(page));
    await next.file.release();
    const last = await open();
    expect(last.damage).toEqual([]);
    expect([...last.file.map.runs()]).toEqual([inPage(1, 5), inPage(1, 9), inPage(2, 6), inPage(19, 7)]);
  });
});

describe('a header', () => {
  it('that is bad in one copy is read from the other, and mended with the next round', async () => {
    for (const offset of [0, 4096]) {
      const { memory, open } = await three();
      await rot(memory, offset + 60);
      const { file, damage } = await open();
      expect(damage.length).toBe(1);
      expect(damage[0]).toMatch(
        /damaged in the copy at offset \d+: its checksum is wrong; the other copy is used/,
      );
      expect(file.map.count).toBe(3);
      await setDurably(file, inPage(8));
      expect((await open()).damage).toEqual([]);
    }
  });

  it('that is bad in both copies has every block count, until what is left is persisted', async () => {
    const { memory, open } = await three();
    await rot(memory, 60);
    await rot(memory, 4096 + 60);
    const { file, damage } = await open();
    expect(damage).toEqual([
      'replica.map: the header of the map of a replica is damaged in both copies (at offset 0: its checksum is wrong; at offset 4096: its checksum is wrong); all 76700 blocks count as in it',
    ]);
    expect(file.map.count).toBe(BLOCKS);
    expect((await open()).damage.length).toBe(1);
    file.map.clear({ from: 0, count: 19 * PAGE_BITS });
    await file.persist([{ from: 0, count: BLOCKS }]);
    const again = await open();
    expect(again.damage).toEqual([]);
    expect(again.file.map.equals(file.map)).toBe(true);
  });

  it('of another volume, replica or purpose, or of a later holdfast, is refused', async () => {
    const { memory, owner, open } = await three();
    const other = '00000000:1fcd9f6b:344045f9:24675b97';
    for (const [change, what] of [
      [{ volumeUuid: other }, 'volume'],
      [{ replicaUuid: other }, 'replica'],
      [{ kind: 'uncopied' }, 'purpose'],
    ] as const) {
      await expect(MapFile.open(memory, { ...owner, ...change })).rejects.toMatchObject({
        code: 'REFUSED',
        message: expect.stringMatching(`replica.map: the map of a replica belongs to another ${what}`),
      });
    }
    const bytes = new Uint8Array(512);
    await memory.read(0, bytes);
    MAP_HEADER.at(bytes).setNumber('incompat', 1);
    MAP_HEADER.at(bytes).setNumber('checksum', crc32c(bytes.subarray(0, 508)));
    await memory.write(4096, bytes);
    await expect(open()).rejects.toMatchObject({ code: 'UNSUPPORTED' });
  });

  it('of a volume of another size has every block count', async () => {
    const { memory } = await three();
    const { file, damage } = await MapFile.open(memory, ownerOf(BLOCKS - 5000));
    expect(damage).toEqual([
      'replica.map: the map of a replica is of 76700 blocks, and the volume has 71700; all 71700 blocks count as in it',
    ]);
    expect(file.map.count).toBe(BLOCKS - 5000);
  });

  it('of a file that is cut short is told', async () => {
    await expect(MapFile.open(new MemoryDevice(mapFileBytes(BLOCKS) - 512), ownerOf())).rejects.toMatchObject(
      {
        code: 'METADATA_DAMAGED',
      },
    );
  });
});
