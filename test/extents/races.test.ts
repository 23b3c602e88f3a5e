/**
 * What of a file's calls meets on the way: each of these orders of events lost or mixed something once. A gate holds a call
 * back until the test lets it go, so the order is the test's.
 */
import { describe, expect, it } from 'vitest';
import type { BlockDevice } from '../../src/device/contract.js';
import { UserError } from '../../src/errors.js';
import { settingsOf } from '../../src/extents/settings.js';
import { withCalls } from '../../src/lab/self/with-calls.js';
import type { Message, MetadataService } from '../../src/metadata/messages.js';
import { contentOf, EXTENT_BYTES, filled, Stage } from './support/stage.js';

class Gate {
  #open!: () => void;
  #reach!: () => void;
  readonly reached = new Promise<void>((resolve) => {
    this.#reach = resolve;
  });
  readonly #opened = new Promise<void>((resolve) => {
    this.#open = resolve;
  });

  open(): void {
    this.#open();
  }

  async pass(): Promise<void> {
    this.#reach();
    await this.#opened;
  }
}

/** The device, with what comes before a write. */
function beforeWrites(device: BlockDevice, before: () => Promise<void>): BlockDevice {
  return withCalls(device, {
    async write(...call) {
      await before();
      await device.write(...call);
    },
  });
}

/** The server, with what comes before a request. */
function beforeRequests(stage: Stage, before: (message: Message) => Promise<void>): MetadataService {
  return {
    request: async (message) => {
      await before(message as Message);
      return stage.server.request(message);
    },
    subscribe: (client, callback) => stage.server.subscribe(client, callback),
  };
}

/** The server, with what comes between what it has done and its answer. */
function afterRequests(stage: Stage, after: (message: Message) => Promise<void>): MetadataService {
  return {
    request: async (message) => {
      const reply = await stage.server.request(message);
      await after(message as Message);
      return reply;
    },
    subscribe: (client, callback) => stage.server.subscribe(client, callback),
  };
}

describe('writes', () => {
  it('a long one waits for a buffer of its blocks that is on its way, though it was cleared meanwhile', async () => {
    const gate = new Gate();
    let writes = 0;
    const stage = await Stage.make({
      blockBytes: 4096,
      blocks: 16,
      wrap: (device) => beforeWrites(device, async () => (writes++ === 0 ? gate.pass() : undefined)),
      store: { writeBehindBytes: 1 },
    });
    const { file } = await stage.openWithFile();
    const short = file.write(0, filled(4096, 1));
    await gate.reached;
    await file.clear(0, 65536);
    const long = file.write(0, filled(65536, 7));
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
    gate.open();
    await Promise.all([short, long]);
    await file.commit({ isComplete: true });
    expect((await contentOf(file)).subarray(0, 65536).findIndex((byte) => byte !== 7)).toBe(-1);
  });

  it('one that ends with a fault of our own is never committed in part', async () => {
    let isBroken = false;
    const stage = await Stage.make({
      wrap: (device) =>
        beforeWrites(device, async () => {
          if (isBroken) throw new TypeError('a fault');
        }),
      store: { writeBehindBytes: 0 },
    });
    const { file } = await stage.openWithFile();
    await file.write(0, filled(EXTENT_BYTES, 1));
    await file.commit({ isComplete: true });
    isBroken = true;
    await expect(file.write(0, filled(EXTENT_BYTES, 2))).rejects.toThrow('a fault');
    isBroken = false;
    await expect(file.commit()).rejects.toThrow('a fault');
    await stage.crash(1, 'all');
    const again = await (await stage.open()).openFile('disk', { access: 'read' });
    expect((await contentOf(again)).subarray(0, EXTENT_BYTES)).toEqual(filled(EXTENT_BYTES, 1));
  });
});

describe('committing', () => {
  it('what is done at once is not done before the answers to what completed an older commit have come', async () => {
    const gate = new Gate();
    const stage = await Stage.make();
    const service = afterRequests(stage, ({ type }) =>
      type === 'Swap_Data_Journal' || type === 'Commit_Data_Journal' ? gate.pass() : Promise.resolve(),
    );
    const store = await stage.open({ service });
    await store.files.create('disk', { sizeBytes: EXTENT_BYTES });
    const file = await store.openFile('disk', { access: 'write' });
    await file.write(0, filled(EXTENT_BYTES, 1));
    await file.commit();
    // The other half is to be copied.
    await file.write(0, filled(EXTENT_BYTES / 2, 2));
    await file.commit();
    await gate.reached;
    await file.write(0, filled(EXTENT_BYTES, 3));
    await file.commit();
    // What is read is looked up in a map that is kept.
    await contentOf(file);
    gate.open();
    await store.settled();
    expect(await contentOf(file)).toEqual(filled(EXTENT_BYTES, 3));
    await store.close();
    expect(await stage.findings()).toEqual([]);
  });
});

describe('closing', () => {
  it('what was given up is in no early commit that another file asks for', async () => {
    const gate = new Gate();
    const stage = await Stage.make({ extents: 8 });
    let hardened = 0;
    const service = beforeRequests(stage, async ({ type }) => {
      if (type === 'Harden_Extent_Flags' && hardened++ === 1) await gate.pass();
    });
    const store = await stage.open({ service });
    const files = [];
    for (const name of ['one', 'two', 'three']) {
      await store.files.create(name, { sizeBytes: 16 * EXTENT_BYTES });
      files.push(await store.openFile(name, { access: 'write' }));
    }
    const [one, two, three] = files as [(typeof files)[0], (typeof files)[0], (typeof files)[0]];
    await three.write(0, filled(EXTENT_BYTES, 3));
    await three.commit({ isComplete: true });
    await two.write(0, filled(2 * EXTENT_BYTES, 2));
    await three.write(0, filled(EXTENT_BYTES, 4));
    // There is no room: it asks two, then three, for an early commit.
    const writing = one.write(0, filled(5 * EXTENT_BYTES, 1));
    writing.catch(() => {});
    await gate.reached;
    await three.close();
    gate.open();
    await Promise.allSettled([writing]);
    const again = await store.openFile('three', { access: 'read' });
    expect((await contentOf(again)).subarray(0, EXTENT_BYTES)).toEqual(filled(EXTENT_BYTES, 3));
    await store.settled();
    expect(await stage.findings()).toEqual([]);
  });
});

describe('opening', () => {
  it('has the size of a commit that came between the look-up and the opening', async () => {
    const gate = new Gate();
    const stage = await Stage.make();
    let isHeld = false;
    const service: MetadataService = {
      request: async (message) => {
        const reply = await stage.server.request(message);
        if (isHeld && message.type === 'Look_Up_File') await gate.pass();
        return reply;
      },
      subscribe: (client, callback) => stage.server.subscribe(client, callback),
    };
    const store = await stage.open({ service });
    await store.files.create('disk', { sizeBytes: 0 });
    const file = await store.openFile('disk', { access: 'write' });
    isHeld = true;
    const opening = store.openFile('disk', { access: 'write' });
    await gate.reached;
    await file.write(0, filled(3000, 1));
    await file.commit({ isComplete: true });
    await file.close();
    gate.open();
    const again = await opening;
    expect(again.sizeBytes).toBe(3000);
    await again.write(0, filled(10, 2));
    await again.commit({ isComplete: true });
    isHeld = false;
    expect((await store.files.get('disk')).sizeBytes).toBe(3000);
  });
});

describe('waiting', () => {
  const timers = () => process.getActiveResourcesInfo().filter((one) => one === 'Timeout').length;

  it('for a target that is to come back keeps the process alive; for buffers to age does not', async () => {
    const stage = await Stage.make();
    const { clock } = settingsOf({
      service: stage.server,
      pool: stage.pool,
      client: 'a',
      journalShares: true,
    });
    const before = timers();
    const waiting = clock.wait(20);
    expect(timers()).toBe(before + 1);
    await waiting;
    const idle = timers();
    void clock.wait(20, { isBackground: true });
    expect(timers()).toBe(idle);
  });
});

/** The type of a message alone does not tell TypeScript which one it is. */
function isHarden(message: { readonly type: string }): message is Message<'Harden_Extent_Flags'> {
  return message.type === 'Harden_Extent_Flags';
}

describe('keeping', () => {
  const noSpace = () => new UserError('NO_SPACE', 'the metadata has no room');

  it('that fails half way leaves nothing of it with the extents that are given back', async () => {
    const stage = await Stage.make({ extents: 400 });
    let parts = 0;
    const service = beforeRequests(stage, async (message) => {
      if (isHarden(message) && !message.starts && ++parts === 2) throw noSpace();
    });
    const store = await stage.open({ service });
    await store.files.create('disk', { sizeBytes: 200 * EXTENT_BYTES });
    const file = await store.openFile('disk', { access: 'write' });
    await file.write(0, filled(100 * EXTENT_BYTES, 1));
    await expect(file.keep()).rejects.toMatchObject({ code: 'NO_SPACE' });
    await file.discard();
    await file.write(100 * EXTENT_BYTES, filled(100 * EXTENT_BYTES, 2));
    await file.commit({ isComplete: true });
    await store.close();
    expect(await stage.findings()).toEqual([]);
  });

  it('is discarded whole after a commit that found no room', async () => {
    const stage = await Stage.make();
    let isFull = false;
    const service = beforeRequests(stage, async (message) => {
      if (isFull && isHarden(message) && message.extents.length > 0) throw noSpace();
    });
    const store = await stage.open({ service });
    await store.files.create('disk', { sizeBytes: EXTENT_BYTES });
    const file = await store.openFile('disk', { access: 'write' });
    await file.write(0, filled(2 * EXTENT_BYTES, 1));
    await file.keep();
    isFull = true;
    await expect(file.commit()).rejects.toMatchObject({ code: 'NO_SPACE' });
    await file.discard();
    await stage.crash(1, 'none');
    expect((await stage.open()).recovery.keptFiles).toBe(0);
  });

  it('outlives a commit that found no room', async () => {
    const stage = await Stage.make();
    let isFull = false;
    const service = beforeRequests(stage, async (message) => {
      if (isFull && message.type === 'Harden_Extent_Flags') throw noSpace();
    });
    const store = await stage.open({ service });
    await store.files.create('disk', { sizeBytes: EXTENT_BYTES });
    const file = await store.openFile('disk', { access: 'write' });
    await file.write(0, filled(2 * EXTENT_BYTES, 1));
    await file.keep();
    isFull = true;
    await expect(file.commit()).rejects.toMatchObject({ code: 'NO_SPACE' });
    await file.close();
    await store.close();
    await stage.crash(1, 'none');
    const later = await stage.open();
    expect((await later.journal.status()).files).toMatchObject([{ extents: 2, sizeBytes: 2 * EXTENT_BYTES }]);
    await later.journal.commit();
    const again = await later.openFile('disk', { access: 'read' });
    expect(await contentOf(again)).toEqual(filled(2 * EXTENT_BYTES, 1));
  });
});
