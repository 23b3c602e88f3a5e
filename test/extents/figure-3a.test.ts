/**
 * The operations of figure 3A (data journaling, paragraphs 25 to 31) as a client does them: what it asks the metadata
 * server for, in which order, and what it writes where.
 */
import { expect, it } from 'vitest';
import { withCalls } from '../../src/lab/self/with-calls.js';
import type { Message, MetadataService } from '../../src/metadata/messages.js';
import { BLOCK_BYTES, contentOf, EXTENT_BYTES, filled, Stage, type StageOptions } from './support/stage.js';

/** Every message that the store sends, in order. */
async function heard(options: StageOptions = {}) {
  const stage = await Stage.make(options);
  const sent: Message[] = [];
  const service: MetadataService = {
    request: (message) => {
      sent.push(message as Message);
      return stage.server.request(message);
    },
    subscribe: (client, callback) => stage.server.subscribe(client, callback),
  };
  const store = await stage.open({ service });
  await store.files.create('disk', { sizeBytes: 16 * EXTENT_BYTES });
  const file = await store.openFile('disk', { access: 'write' });
  sent.length = 0;
  const named = (type: Message['type']) => sent.filter((message) => message.type === type);
  return { stage, store, file, sent, named };
}

/** The bytes of a journal extent, as its target has them. */
async function extentOf(stage: Stage, extent: number): Promise<Uint8Array> {
  const { device, offsetBytes } = stage.pool.locate(extent);
  const bytes = new Uint8Array(EXTENT_BYTES);
  await device.read(offsetBytes, bytes);
  return bytes;
}

const PRIMITIVES = [
  'Allocate_Journal_Space',
  'Associate_Data_Journal',
  'Swap_Data_Journal',
  'Commit_Data_Journal',
  'Disassociate_Journal_Extent',
  'Harden_Extent_Flags',
] as const;

it('paragraph 25, operation 302: a client does with the six primitives, by their names', async () => {
  const { store, file, sent } = await heard({ store: { associates: 'at-once' } });
  await file.write(0, filled(2 * EXTENT_BYTES, 1));
  await file.commit({ isComplete: true });
  await file.write(0, filled(BLOCK_BYTES, 2));
  await file.write(EXTENT_BYTES, filled(EXTENT_BYTES, 3));
  await file.commit({ isComplete: true });
  await store.close();
  const types = new Set(sent.map(({ type }) => type));
  for (const primitive of PRIMITIVES) expect(types).toContain(primitive);
});

it('paragraphs 35 and 38: what is spent is disassociated right before the next message that changes something', async () => {
  const { store, file, sent, named } = await heard();
  await file.write(0, filled(EXTENT_BYTES, 1));
  await file.commit({ isComplete: true });
  await file.write(0, filled(EXTENT_BYTES, 2));
  await file.commit({ isComplete: true });
  // The first content's extent is the client's again: nothing waits for that to be told.
  await file.read(0, new Uint8Array(BLOCK_BYTES));
  expect(named('Disassociate_Journal_Extent')).toEqual([]);
  await file.write(0, filled(EXTENT_BYTES, 3));
  await file.commit({ isComplete: true });
  const [told] = named('Disassociate_Journal_Extent');
  expect(told).toMatchObject({ extents: [expect.any(Number)] });
  const next = sent[sent.indexOf(told!) + 1]!;
  expect(next.type).not.toBe('Read_Transaction');
  expect(named('Disassociate_Journal_Extent')).toHaveLength(1);
  // What the third commit has spent is not left associated either.
  await store.close();
  expect(named('Disassociate_Journal_Extent')).toHaveLength(2);
});

it('paragraph 25: journal extents are allocated ahead, as many as commits use', async () => {
  const { store, file, named } = await heard({ extents: 200 });
  const asked: number[] = [];
  for (let round = 0; round < 12; round++) {
    const before = named('Allocate_Journal_Space').length;
    for (let at = 0; at < 12; at++) await file.write(at * EXTENT_BYTES, filled(EXTENT_BYTES, round));
    await file.commit({ isComplete: true });
    asked.push(named('Allocate_Journal_Space').length - before);
  }
  // Each commit uses twelve: once that is known, they are there before they are wanted.
  expect(asked.slice(-4)).toEqual([0, 0, 0, 0]);
  expect(asked[0]).toBeGreaterThan(0);
  await store.close();
});

it('paragraph 26, operation 304: the journal extent lies on the same target as the data or on another', async () => {
  const { stage, store, file } = await heard({ extents: 8, splitAt: 4, store: { journalShares: false } });
  const targets = new Set<unknown>();
  for (let fill = 1; fill <= 6; fill++) {
    await file.write(0, filled(3 * EXTENT_BYTES, fill));
    await file.commit({ isComplete: true });
    const request = { type: 'Map_Extents', client: 'a', file: file.file, from: 0, count: 3 } as const;
    for (const { extent } of (await stage.server.request(request)).extents)
      targets.add(stage.pool.locate(extent!).device);
    expect((await contentOf(file)).subarray(0, 3 * EXTENT_BYTES)).toEqual(filled(3 * EXTENT_BYTES, fill));
  }
  expect(targets.size).toBe(2);
  await store.close();
});

it('paragraph 27, operations 306 and 308: the server is told of the association at once, or with the flags', async () => {
  for (const associates of ['at-once', 'at-commit'] as const) {
    const { store, file, sent, named } = await heard({ store: { associates } });
    await file.write(3 * EXTENT_BYTES, filled(BLOCK_BYTES, 1));
    await store.space();
    const told = associates === 'at-once' ? [{ file: file.file, index: 3 }] : [];
    expect(named('Associate_Data_Journal')).toMatchObject(told);
    await file.commit({ isComplete: true });
    expect(named('Associate_Data_Journal')).toHaveLength(told.length);
    expect(named('Harden_Extent_Flags')).toMatchObject([{ extents: [{ file: file.file, index: 3 }] }]);
    expect(sent.length).toBeGreaterThan(0);
    await store.close();
  }
});

it('paragraph 28, operation 310: data goes to its own place in the journal extent, which later writes find', async () => {
  const { stage, store, file, named } = await heard({
    store: { writeBehindBytes: 0, associates: 'at-once' },
  });
  await file.write(2 * BLOCK_BYTES, filled(BLOCK_BYTES, 7));
  await file.write(5 * BLOCK_BYTES, filled(2 * BLOCK_BYTES, 8));
  await store.space();
  const associated = named('Associate_Data_Journal') as Message<'Associate_Data_Journal'>[];
  expect(associated).toMatchObject([{ index: 0 }]);
  const bytes = await extentOf(stage, associated[0]!.journal);
  const fills = Array.from({ length: 8 }, (_, block) => bytes[block * BLOCK_BYTES]);
  expect(fills).toEqual([0, 0, 7, 0, 0, 8, 8, 0]);
  // The data extent, where there is one, has nothing of it: there is none yet.
  const request = { type: 'Map_Extents', client: 'a', file: file.file, from: 0, count: 1 } as const;
  expect((await stage.server.request(request)).extents).toMatchObject([{ extent: null, pending: [] }]);
  await store.close();
});

it('paragraph 29, operation 312: each block that is written is marked, one written in part too; told with the commit', async () => {
  const { store, file, named } = await heard();
  // Figure 4: blocks 1, 2, 3, 4 and 6; of the last one a part.
  await file.write(BLOCK_BYTES, filled(4 * BLOCK_BYTES, 1));
  await file.write(6 * BLOCK_BYTES + 100, filled(10, 2));
  await file.write(2 * BLOCK_BYTES, filled(BLOCK_BYTES, 3));
  expect((await store.journal.status()).files).toMatchObject([{ writtenBlocks: 5, clearedBlocks: 0 }]);
  expect(named('Harden_Extent_Flags')).toEqual([]);
  await file.commit({ isComplete: true });
  const marked = new Uint8Array([0b0101_1110]);
  expect(named('Harden_Extent_Flags')).toMatchObject([{ starts: true, extents: [{ index: 0, marked }] }]);
  await store.close();
});

it('paragraph 34: extents for which nothing is copied are swapped with their flags, in one message', async () => {
  const { store, file, sent, named } = await heard();
  for (const round of [1, 2]) {
    sent.length = 0;
    await file.write(0, filled(3 * EXTENT_BYTES, round));
    const result = await file.commit({ isComplete: true });
    expect(result).toMatchObject({ extents: 3, swappedExtents: 3, copiedBlocks: 0, isComplete: true });
    expect(named('Harden_Extent_Flags')).toHaveLength(1);
    for (const type of ['Read_Transaction', 'Swap_Data_Journal'] as const) expect(named(type)).toEqual([]);
    expect((await contentOf(file)).subarray(0, 3 * EXTENT_BYTES)).toEqual(filled(3 * EXTENT_BYTES, round));
  }
  // One of which a part is kept makes all of them wait for its copies.
  await file.write(0, filled(2 * EXTENT_BYTES + BLOCK_BYTES, 3));
  await file.commit({ isComplete: true });
  expect(named('Read_Transaction')).toHaveLength(1);
  await store.close();
});

it('paragraphs 30 and 31, operations 314 and 316: the flags of each journal extent go in one message, after its data', async () => {
  let flushes = 0;
  const { stage, store, file, sent } = await heard({
    wrap: (device) =>
      withCalls(device, {
        async flush() {
          flushes += 1;
          await device.flush();
        },
      }),
  });
  // So that each of them has something to be copied, and is not done with its flags.
  await file.write(0, filled(10 * EXTENT_BYTES, 77));
  await file.commit({ isComplete: true });
  sent.length = 0;
  for (const index of [0, 4, 9]) await file.write(index * EXTENT_BYTES, filled(BLOCK_BYTES, index + 1));
  const before = flushes;
  const { server } = stage;
  const ask = server.request.bind(server);
  let flushesBeforeFlags = -1;
  server.request = ((message: Message) => {
    if (message.type === 'Harden_Extent_Flags') flushesBeforeFlags = flushes - before;
    return ask(message as never);
  }) as typeof server.request;
  await file.commit();
  expect(flushesBeforeFlags).toBe(1);
  const hardened = sent.filter(({ type }) => type === 'Harden_Extent_Flags');
  expect(hardened).toMatchObject([{ extents: [{ index: 0 }, { index: 4 }, { index: 9 }] }]);
  // From here on all that is needed to do it again is at the server.
  await stage.crash(1, 'none');
  const later = await stage.open();
  expect(later.recovery).toMatchObject({ redoneTransactions: 1 });
  const found = await contentOf(await later.openFile('disk', { access: 'read' }));
  expect([0, 4, 9].map((index) => found[index * EXTENT_BYTES])).toEqual([1, 5, 10]);
  await store.close().catch(() => undefined);
});
