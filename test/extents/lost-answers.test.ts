/**
 * The metadata server fails or its answer is lost, and then everything is closed: what the server has stays whole, and
 * nothing is left over that would keep the file, the server or the pool from being used.
 */
import { describe, expect, it } from 'vitest';
import { UserError } from '../../src/errors.js';
import type { Message, MetadataService } from '../../src/metadata/messages.js';
import { contentOf, EXTENT_BYTES, filled, Stage } from './support/stage.js';

const lost = () => new UserError('IO_ERROR', 'the server does not answer');

/** The server, with what comes before a request and after it. */
function around(
  stage: Stage,
  { before = async () => {}, after = async () => {} }: Partial<Record<'before' | 'after', Step>>,
): MetadataService {
  return {
    request: async (message) => {
      await before(message as Message);
      const reply = await stage.server.request(message);
      await after(message as Message);
      return reply;
    },
    subscribe: (client, callback) => stage.server.subscribe(client, callback),
  };
}

type Step = (message: Message) => Promise<void>;

function startsCommit(message: { readonly type: string }): boolean {
  if (message.type !== 'Harden_Extent_Flags') return false;
  const { starts, extents } = message as Message<'Harden_Extent_Flags'>;
  return starts && extents.length > 0;
}

describe('a commit of what was kept, whose answer is lost', () => {
  /** A file of one extent, of two with what is kept; its commit has failed and it is closed. */
  async function lostCommit(when: 'before' | 'after') {
    const stage = await Stage.make();
    const fail = async (message: Message) => {
      if (startsCommit(message) && (await isKept(stage))) throw lost();
    };
    const store = await stage.open({ service: around(stage, { [when]: fail }) });
    await store.files.create('disk', { sizeBytes: 0 });
    const file = await store.openFile('disk', { access: 'write' });
    await file.write(0, filled(EXTENT_BYTES, 1));
    await file.commit({ isComplete: true });
    await file.write(0, filled(2 * EXTENT_BYTES, 2));
    await file.keep();
    keptStages.add(stage);
    await expect(file.commit()).rejects.toMatchObject({ code: 'IO_ERROR' });
    await file.close();
    return { stage, store };
  }

  const keptStages = new WeakSet<Stage>();
  const isKept = async (stage: Stage) => keptStages.has(stage);

  it.each(['before', 'after'] as const)('%s it is hardened: closing leaves all of it', async (when) => {
    const { stage, store } = await lostCommit(when);
    await store.close();
    await stage.crash(1, 'none');
    const later = await stage.open();
    expect(later.recovery).toMatchObject({ keptFiles: when === 'before' ? 1 : 0 });
    await later.journal.commit();
    const again = await later.openFile('disk', { access: 'read' });
    expect(await contentOf(again)).toEqual(filled(2 * EXTENT_BYTES, 2));
    await later.close();
    expect(await stage.findings()).toEqual([]);
  });

  it('nobody writes to it until the volume is opened again', async () => {
    const { store } = await lostCommit('before');
    await expect(store.openFile('disk', { access: 'write' })).rejects.toMatchObject({
      code: 'REFUSED',
      hint: expect.stringContaining('open it again'),
    });
    const reader = await store.openFile('disk', { access: 'read' });
    expect(await contentOf(reader)).toEqual(filled(EXTENT_BYTES, 1));
  });
});

describe('a keeping whose answer is lost', () => {
  it.each(['close', 'discard'] as const)('is void after a %s: no size is left of it', async (how) => {
    const stage = await Stage.make();
    let isAway = false;
    const after = async (message: Message) => {
      if (message.type !== 'Harden_Extent_Flags') return;
      const { starts, sizes } = message as Message<'Harden_Extent_Flags'>;
      if (isAway && !starts && sizes.length > 0) throw lost();
    };
    const store = await stage.open({ service: around(stage, { after }) });
    await store.files.create('disk', { sizeBytes: EXTENT_BYTES });
    const file = await store.openFile('disk', { access: 'write' });
    await file.write(0, filled(3 * EXTENT_BYTES, 1));
    isAway = true;
    await expect(file.keep()).rejects.toMatchObject({ code: 'IO_ERROR' });
    if (how === 'discard') await file.discard();
    await file.close();
    await store.close();
    await stage.crash(1, 'none');
    const later = await stage.open();
    expect(later.recovery.keptFiles).toBe(0);
    expect((await later.files.get('disk')).sizeBytes).toBe(EXTENT_BYTES);
    await later.close();
    expect(await stage.findings()).toEqual([]);
  });
});

describe('closing', () => {
  it('that fails closes the file all the same: it can be opened again', async () => {
    const stage = await Stage.make();
    let isAway = false;
    const before = async ({ type }: Message) => {
      if (isAway && type === 'Disassociate_Journal_Extent') throw lost();
    };
    const store = await stage.open({ service: around(stage, { before }), associates: 'at-once' });
    await store.files.create('disk', { sizeBytes: EXTENT_BYTES });
    const file = await store.openFile('disk', { access: 'write' });
    await file.write(0, filled(100, 1));
    isAway = true;
    await expect(file.close()).rejects.toMatchObject({ code: 'IO_ERROR' });
    isAway = false;
    const again = await store.openFile('disk', { access: 'read' });
    expect((await contentOf(again))[0]).toBe(0);
    await again.close();
    await store.close();
    await stage.crash(1, 'none');
    await (await stage.open()).close();
    expect(await stage.findings()).toEqual([]);
  });

  it('of the store waits for extents that go back to a reserve', async () => {
    const stage = await Stage.make({ extents: 12 });
    let open!: () => void;
    const opened = new Promise<void>((resolve) => {
      open = resolve;
    });
    let freed = 0;
    let ended = 0;
    const service = around(stage, {
      before: async ({ type }) => {
        if (type === 'Free_Journal_Space' && freed++ === 0) await opened;
      },
      after: async ({ type }) => {
        if (type === 'Free_Journal_Space') ended += 1;
      },
    });
    const store = await stage.open({ service });
    await store.files.create('disk', { sizeBytes: 0, reserveBytes: 6 * EXTENT_BYTES });
    const file = await store.openFile('disk', { access: 'write' });
    // More than the common pool has: some come out of the reserve, and go back there.
    await file.write(0, filled(8 * EXTENT_BYTES, 1));
    await file.discard();
    const closing = store.close();
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
    open();
    await closing;
    expect(ended).toBe(freed);
    expect(stage.warnings).toEqual([]);
    expect(await stage.findings()).toEqual([]);
  });
});

it('a client that could not open is told of nothing any more', async () => {
  const stage = await Stage.make();
  let subscribed = 0;
  const service: MetadataService = {
    request: () => Promise.reject(lost()),
    subscribe: () => {
      subscribed += 1;
      return () => {
        subscribed -= 1;
      };
    },
  };
  await expect(stage.open({ service })).rejects.toMatchObject({ code: 'IO_ERROR' });
  expect(subscribed).toBe(0);
});
