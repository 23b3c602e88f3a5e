/**
 * Everything on disk has two copies: whichever is damaged, the other one is read, and the bad one is made anew. What is
 * damaged in both is refused with the image and the offset.
 */
import { describe, expect, it } from 'vitest';
import { bytesOf, list, put } from '../../../src/lab/self/metadata/model.js';
import { checkEngine, mendEngine } from '../../../src/metadata/engine/check-engine.js';
import { allocationOffset, PAGE_BYTES, rootOffset } from '../../../src/metadata/engine/layout.js';
import { bytesAt, type EngineStage, fill, keyOf, rot, stage } from './support.js';

/** An engine of two levels with two roots, and with two records in its log. */
async function filled(): Promise<{ stage: EngineStage; generation: number; entries: string[] }> {
  const own = await stage();
  const engine = await own.open();
  await fill(engine, 900);
  await engine.commit([put('first', '1')]);
  await engine.commit([put('second', '2')]);
  const { generation } = engine;
  const entries = await list(engine);
  await engine.close();
  return { stage: own, generation, entries };
}

/** Bytes of a half: within each structure that the engine has there now. */
async function places({ stage: { memory, layout, at }, generation }: Awaited<ReturnType<typeof filled>>) {
  const pages: number[] = [];
  for (let page = 0; page < layout.pages; page++) {
    const offset = layout.pagesOffset + page * PAGE_BYTES;
    const bytes = await bytesAt(memory, at(0, offset), PAGE_BYTES);
    const view = new DataView(bytes.buffer);
    if (view.getBigUint64(24, true) === BigInt(generation)) pages.push(offset + 100);
  }
  // Of the last root's two records the first one begins where its root says.
  const root = new DataView((await bytesAt(memory, at(0, rootOffset(generation)), 512)).buffer);
  const log = layout.logOffset + (Number(root.getBigUint64(40, true)) % layout.logBytes);
  return {
    header: [30],
    root: [rootOffset(generation) + 45],
    allocation: [allocationOffset(layout, generation) + 80],
    'the log, not its last record': [log + 70],
    "the log's last record": [layout.logOffset + ((log - layout.logOffset + 4096) % layout.logBytes) + 70],
    'pages of the tree': pages,
  };
}

const WHAT = [
  'header',
  'root',
  'allocation',
  'the log, not its last record',
  "the log's last record",
  'pages of the tree',
] as const;

describe.each(WHAT)('%s', (what) => {
  it.each([
    ['A', 0],
    ['B', 1],
  ] as const)('is read from the other half where copy %s is damaged, and mended', async (name, half) => {
    const made = await filled();
    const { memory, at, open, range, warnings } = made.stage;
    const offsets = (await places(made))[what];
    expect(offsets.length).toBeGreaterThan(0);
    for (const offset of offsets) await rot(memory, at(half, offset));
    const found = await checkEngine(range);
    expect(found.map(({ code }) => code)).toEqual(offsets.map(() => expect.stringMatching(/COPY_DAMAGED$/)));
    expect(found[0]!.message).toContain(`copy ${name}`);
    const readOnly = await open({ readOnly: true });
    expect(await list(readOnly)).toEqual(made.entries);
    await readOnly.close();
    expect(await checkEngine(range)).toEqual(found);
    const engine = await open();
    expect(await list(engine)).toEqual(made.entries);
    await engine.checkpoint();
    await engine.close();
    // Of pages copy A is read, and copy B where A is no good: only who looks at all finds that B is.
    if (what.startsWith('pages') && half === 1) expect(await mendEngine(range)).not.toEqual([]);
    expect(await checkEngine(range)).toEqual([]);
    // What a crash leaves as well is no news; nor is what nobody read: a page is read from A while A is good.
    const isNews =
      what !== 'root' && what !== "the log's last record" && !(what.startsWith('pages') && half === 1);
    expect(warnings.length > 0).toBe(isNews);
  });

  it('that is damaged in both halves is refused with image and offset, but where a crash leaves the same', async () => {
    const made = await filled();
    const { memory, at, open, range } = made.stage;
    const [offset] = (await places(made))[what];
    for (const half of [0, 1]) await rot(memory, at(half, offset!));
    const codes = (await checkEngine(range)).map(({ code }) => code);
    if (what === "the log's last record") {
      // Nobody can tell it from one that was being written.
      expect(codes).toEqual([]);
      const engine = await open();
      expect(await list(engine)).toEqual(
        made.entries.filter((entry) => !entry.startsWith(Buffer.from('second').toString('hex'))),
      );
      return;
    }
    expect(codes).toContainEqual(expect.stringMatching(/^(HEADER|ROOT|ALLOCATION|LOG|PAGE)_DAMAGED$/));
    const reading = async () => list(await open());
    await expect(reading()).rejects.toMatchObject({
      code: 'METADATA_DAMAGED',
      message: expect.stringMatching(/meta\.img.*at offset \d+/),
      details: { image: 'meta.img', offsetBytes: expect.any(Number) },
    });
  });
});

it('a copy that cannot be read is as good as a damaged one', async () => {
  const made = await filled();
  const { device, at, open, layout } = made.stage;
  device.addRule({ operations: ['read'], range: { offset: at(0, 0), length: layout.halfBytes } });
  const engine = await open({ readOnly: true });
  expect(await list(engine)).toEqual(made.entries);
  expect(made.stage.warnings.map(({ code }) => code)).toContain('HEADER_COPY_DAMAGED');
});

it('a whole half that is gone is made anew by who reads all of it', async () => {
  const made = await filled();
  const { memory, at, open, range, layout } = made.stage;
  await memory.writeZeroes(at(0, 0), layout.halfBytes);
  const engine = await open();
  expect(await list(engine)).toEqual(made.entries);
  await engine.checkpoint();
  await engine.close();
  expect(await checkEngine(range)).toEqual([]);
});

it('an old page that is put back, and one of another place, are told', async () => {
  const made = await filled();
  const { memory, at, open, layout } = made.stage;
  const engine = await open();
  const [key] = [bytesOf(keyOf(0))];
  const before = await bytesAt(memory, at(0, layout.pagesOffset), layout.pages * PAGE_BYTES);
  await engine.commit([{ key: key!, value: bytesOf('new') }]);
  // Twice, so that old places are written again.
  for (let round = 0; round < 30; round++) {
    await engine.commit([{ key: key!, value: bytesOf(`new ${round}`) }]);
    await engine.checkpoint();
  }
  await engine.close();
  await memory.write(at(0, layout.pagesOffset), before);
  const reopened = await open();
  expect(await reopened.get(key!)).toEqual(bytesOf('new 29'));
  expect(made.stage.warnings.map(({ code }) => code)).toContain('PAGE_COPY_DAMAGED');
});

it('a newest root that has rotted in both halves is missed by the log', async () => {
  const made = await filled();
  const { memory, at, open } = made.stage;
  for (const half of [0, 1]) await rot(memory, at(half, rootOffset(made.generation) + 45));
  await expect(open()).rejects.toMatchObject({ code: 'METADATA_DAMAGED' });
});

it('what is no engine, a later one, and one that was cut short are told apart', async () => {
  const { memory, at, open, layout, range } = await stage();
  const { crc32c } = await import('@node-rs/crc32');
  const header = await bytesAt(memory, at(0, 0), 4096);
  const write = async (offset: number, value: number) => {
    const changed = header.slice();
    const view = new DataView(changed.buffer);
    view.setUint32(offset, value, true);
    view.setUint32(508, crc32c(changed.subarray(0, 508)), true);
    for (const half of [0, 1]) await memory.write(at(half, 0), changed);
  };
  await write(20, 0x40);
  await expect(open()).rejects.toMatchObject({
    code: 'UNSUPPORTED',
    message: expect.stringContaining('0x40'),
  });
  await write(8, 2);
  await expect(open()).rejects.toMatchObject({
    code: 'UNSUPPORTED',
    message: expect.stringContaining('version 2'),
  });
  await write(16, 0x8);
  await expect(open()).rejects.toMatchObject({
    code: 'PERMISSION_DENIED',
    message: expect.stringContaining('0x8'),
  });
  expect(await list(await open({ readOnly: true }))).toEqual([]);
  await write(12, 0x80);
  expect(await list(await open())).toEqual([]);
  const { openEngine } = await import('../../../src/metadata/engine/open-engine.js');
  const short = { ...range, length: range.length - 2 * layout.pagesOffset };
  await expect(openEngine(short, { warn: () => undefined })).rejects.toMatchObject({
    code: 'METADATA_DAMAGED',
  });
  for (const half of [0, 1]) await memory.writeZeroes(at(half, 0), 4096);
  await expect(open()).rejects.toMatchObject({ code: 'VOLUME_NOT_FOUND' });
});
