/**
 * What a promoted secondary behind a server says of itself, and how it is made a secondary again, at the level of the wire: lists that
 * are longer than an answer, what is stale, servers that are older or talk nonsense.
 */
import { randomBytes } from 'node:crypto';
import { stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { MemoryDevice } from '../../src/device/memory.js';
import type { ExportExtension } from '../../src/nbd/server/export.js';
import { NbdServer } from '../../src/nbd/server/server.js';
import { openVolume, promoteSecondary } from '../../src/volume/index.js';
import { placesOfImage } from '../../src/volume/replication/places.js';
import { SecondaryHost } from '../../src/volume/replication/secondary/host.js';
import { ImagePlace } from '../../src/volume/replication/secondary/image-place.js';
import { parsed, SECONDARY_OPTION } from '../../src/volume/replication/secondary/messages.js';
import type { Demotion, SecondaryToMake } from '../../src/volume/replication/secondary/place.js';
import { RemotePlace } from '../../src/volume/replication/secondary/remote-place.js';
import { placeExtension } from '../../src/volume/replication/secondary/requests.js';
import { ServedSecondary } from '../../src/volume/serve-secondary.js';
import { scratchDirectory } from '../support/devices/scratch.js';
import { RawClient } from '../support/nbd/raw-client.js';
import { AT_ONCE, asked, NEVER, newSecondary } from '../support/replication/hosted-place.js';
import { ok, runHoldfast, runJson } from '../support/run-holdfast.js';
import { serve } from '../support/served.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const BLOCK_BYTES = 4096;
const BLOCKS = 2600;
const SIZE = BLOCKS * BLOCK_BYTES;

/** A place that was promoted, and whose server comes and goes. */
class Promoted {
  readonly place: RemotePlace;
  readonly ids: SecondaryToMake = newSecondary({ sizeBytes: SIZE });
  readonly socket: string;
  readonly image: string;
  #served: ServedSecondary | null = null;

  private constructor(folder: string) {
    this.image = join(folder, 'second.img');
    this.socket = join(folder, 'socket');
    this.place = new RemotePlace(`nbd+unix:///?socket=${this.socket}`);
  }

  /** With these blocks put back when it was promoted. */
  static async make(putBack: readonly number[] = []): Promise<Promoted> {
    const made = new Promoted(await scratchDirectory());
    onTestFinished(() => made.stop());
    await made.start();
    await made.place.make(made.ids);
    const joined = await made.place.join(made.ids, NEVER);
    await joined.device.write(0, randomBytes(100 * BLOCK_BYTES));
    await joined.device.flush();
    await joined.endResync(made.ids.generation);
    if (putBack.length > 0) await joined.beginResync();
    for (const block of putBack) await joined.device.write(block * BLOCK_BYTES, randomBytes(BLOCK_BYTES));
    await joined.device.flush();
    await joined.close();
    await made.promote();
    return made;
  }

  async start(): Promise<void> {
    this.#served = await ServedSecondary.open([this.image], {
      ...{ exportNames: [], tls: undefined, sizeBytes: SIZE, ...AT_ONCE },
    });
    await this.#served.server.listenUnix(this.socket);
  }

  async stop(): Promise<void> {
    await this.#served?.stop();
    this.#served = null;
  }

  promote(): Promise<unknown> {
    return promoteSecondary(this.image);
  }

  /** As a volume of its own, while it is not served. */
  async write(...blocks: number[]): Promise<void> {
    await this.stop();
    const volume = await openVolume([this.image], { access: 'write', warn: () => {} });
    for (const block of blocks) await volume.device.write(block * BLOCK_BYTES, randomBytes(BLOCK_BYTES));
    await volume.close();
    await this.start();
  }

  get demotion(): Demotion {
    const { volumeUuid, replicaUuid, generation } = this.ids;
    return { volumeUuid, replicaUuid, generation, parent: null, atMs: 12345 };
  }

  async marks() {
    return (await this.place.look()).marks!;
  }

  async ask(request: object): Promise<{ answer: Record<string, unknown>; bytes: number }> {
    const client = await RawClient.greeted(this.socket);
    try {
      const [reply] = await asked(client, { holdfast: 1, ...request });
      return { answer: JSON.parse(reply!.data.toString()), bytes: reply!.data.byteLength };
    } finally {
      client.close();
    }
  }
}

const everyOther = (from: number, count: number) => Array.from({ length: count }, (_, n) => from + 2 * n);

describe('what was written there', { timeout: 120_000 }, () => {
  it('is told in as many answers as it takes, the same as beside an image here', async () => {
    const promoted = await Promoted.make(everyOther(1, 600));
    await promoted.write(...everyOther(0, 1250));
    const here = await new ImagePlace(promoted.image).side();
    const there = await promoted.place.side();
    expect(there.marks).toEqual(here.marks);
    expect(there.marks).toMatchObject({
      state: 'promoted',
      generation: { number: 2 },
      parent: { number: 1 },
    });
    expect(there.changes!.written.map!.count).toBe(1250);
    expect(there.changes!.putBack.map!.count).toBe(600);
    for (const kind of ['written', 'putBack'] as const)
      expect(there.changes![kind].map!.equals(here.changes![kind].map!)).toBe(true);
    expect({ ...there.changes, written: null, putBack: null }).toEqual({
      ...here.changes,
      ...{ written: null, putBack: null },
    });
  });

  it('has an end in each answer, whatever is asked for', async () => {
    const promoted = await Promoted.make();
    await promoted.write(...everyOther(1000, 700), 5, 6, 7);
    type Page = { written: { ranges: number[][] }; next: number | null };
    const all: number[][] = [];
    const lengths: number[] = [];
    for (let from: number | null = 0; from !== null; ) {
      const { answer } = await promoted.ask({ request: 'changes', from, most: 300 });
      const page = answer.changes as Page;
      all.push(...page.written.ranges);
      lengths.push(page.written.ranges.length);
      from = page.next;
    }
    expect(lengths).toEqual([300, 300, 101]);
    expect(all).toEqual([[5, 3], ...everyOther(1000, 700).map((block) => [block, 1])]);
    const { answer, bytes } = await promoted.ask({ request: 'changes', from: 0, most: 1e9 });
    expect((answer.changes as Page).written.ranges).toHaveLength(512);
    expect(bytes).toBeLessThan(64 * 1024);
    const beyond = await promoted.ask({ request: 'changes', from: 1e9, most: 1 });
    expect(beyond.answer.changes).toMatchObject({ written: { ranges: [] }, next: null });
  });

  it('is nothing where it was not promoted, and that changes nothing for its primary', async () => {
    const promoted = await Promoted.make();
    await promoted.place.demote(promoted.demotion, async () => {});
    const joined = await promoted.place.join(promoted.ids, NEVER);
    await joined.device.write(0, randomBytes(512));
    expect(await promoted.place.side()).toMatchObject({ marks: { state: 'consistent' }, changes: null });
    // As a command asks again whose answer was lost.
    await promoted.place.demote(promoted.demotion, () => Promise.reject(new Error('nothing is given up')));
    const seen = { generation: promoted.ids.generation, id: '00'.repeat(16) };
    await promoted.ask({ request: 'demote', ...promoted.demotion, seen });
    await joined.device.flush();
    await joined.close();
  });
});

describe('a secondary again', { timeout: 120_000 }, () => {
  it('is as it was, at a point of its own, tracked no more, and its primary joins', async () => {
    const promoted = await Promoted.make();
    await promoted.write(3);
    const before = await promoted.marks();
    await promoted.place.demote(promoted.demotion, async ({ written }) => {
      expect([...written.map!.runs()]).toEqual([{ from: 3, count: 1 }]);
      // Nothing is changed before this has ended.
      expect(await promoted.marks()).toEqual(before);
    });
    expect(await promoted.marks()).toMatchObject({
      ...{ state: 'consistent', generation: promoted.ids.generation },
      point: { epoch: before.point.epoch + 1, atMs: 12345 },
    });
    const { directory } = await placesOfImage(promoted.image);
    await expect(stat(directory)).rejects.toMatchObject({ code: 'ENOENT' });
    await (await promoted.place.join(promoted.ids, NEVER)).close();
  });

  it.each([
    ['other blocks were written', (promoted: Promoted) => promoted.write(4)],
    [
      'it was promoted again',
      async (promoted: Promoted) => {
        await promoted.place.demote(promoted.demotion, async () => {});
        await promoted.promote();
      },
    ],
  ])('is refused where meanwhile %s', async (_name, meanwhile) => {
    const promoted = await Promoted.make();
    await promoted.write(3);
    const late = promoted.place.demote(promoted.demotion, () => meanwhile(promoted));
    await expect(late).rejects.toMatchObject({ code: 'REFUSED', details: { reason: 'stale' } });
    expect(await promoted.marks()).toMatchObject({ state: 'promoted' });
    // Seen anew it is done.
    await promoted.place.demote(promoted.demotion, async () => {});
    expect(await promoted.marks()).toMatchObject({ state: 'consistent' });
  });

  it('may be asked for where what is there was seen, though it was written again in the same blocks', async () => {
    const promoted = await Promoted.make();
    await promoted.write(3);
    await promoted.place.demote(promoted.demotion, () => promoted.write(3));
    expect(await promoted.marks()).toMatchObject({ state: 'consistent' });
  });

  it('is refused to a stranger, to one who names another generation, and while somebody has it as a volume', async () => {
    const promoted = await Promoted.make();
    const { changes, marks } = await promoted.place.side();
    const stranger = { ...promoted.demotion, volumeUuid: 'ab'.repeat(16) };
    await expect(promoted.place.demote(stranger, async () => {})).rejects.toMatchObject({ code: 'REFUSED' });
    const seen = { generation: marks!.generation, id: changes!.id };
    const request = { request: 'demote', ...promoted.demotion, seen };
    for (const wrong of [
      { ...request, volumeUuid: stranger.volumeUuid },
      { ...request, seen: { ...seen, id: '00'.repeat(16) } },
      { ...request, seen: { ...seen, generation: promoted.ids.generation } },
    ]) {
      const { answer } = await promoted.ask(wrong);
      expect(answer).toMatchObject({ error: { code: 'REFUSED' } });
    }
    expect(await promoted.marks()).toMatchObject({ state: 'promoted' });
    await promoted.stop();
    const volume = await openVolume([promoted.image], { access: 'write', warn: () => {} });
    await expect(
      new ImagePlace(promoted.image).demote(promoted.demotion, async () => {}),
    ).rejects.toMatchObject({
      code: 'IN_USE',
    });
    await volume.close();
  });
});

/** An export that answers the option so. */
async function answering(extension: ExportExtension): Promise<string> {
  const socket = join(await scratchDirectory(), 'socket');
  const server = new NbdServer({
    exports: [
      {
        name: 'x',
        device: new MemoryDevice(BLOCK_BYTES),
        extensions: new Map([[SECONDARY_OPTION, extension]]),
      },
    ],
    onFault: (error) => {
      throw error;
    },
  });
  await server.listenUnix(socket);
  onTestFinished(() => server.stop());
  return `nbd+unix:///?socket=${socket}`;
}

describe('servers that say less, or nonsense', { timeout: 240_000 }, () => {
  it('one that is older is told apart, and what it does not say is not guessed', async () => {
    const folder = await temporaryFolder();
    const [volume, image, input] = [join(folder, 'v'), join(folder, 'second.img'), join(folder, 'input')];
    const host = await SecondaryHost.open(image, 1024 * 1024, AT_ONCE);
    onTestFinished(() => host.close());
    const place = placeExtension(host, { name: 'x' });
    const uri = await answering(async (payload, peer) => {
      const { request } = parsed(payload) as { request: string };
      if (!['changes', 'demote'].includes(request)) return place(payload, peer);
      return { kind: 'malformed', why: 'No matching discriminator' };
    });
    await writeFile(input, randomBytes(5000));
    await ok('create', volume, '--members', '1', '--size', '1MiB');
    await ok('replica', 'add', volume, '--to', uri);
    await ok('replica', 'sync', volume);
    await host.promote({ force: false });
    await ok('write', volume, '--input', input);
    const { stdout, exitCode } = await runHoldfast(['replica', 'status', volume, '--explain']);
    expect(exitCode).toBe(3);
    expect(stdout).toContain('it was promoted, and both sides were or may have been written');
    expect(stdout).toContain('changed there not known: its server is of an older holdfast');
    const attempt = async (...args: string[]) => (await runJson(['replica', 'resume', volume, ...args])).json;
    expect(await attempt()).toMatchObject({
      error: { code: 'REFUSED', message: expect.stringContaining('older holdfast') },
    });
    expect(await attempt('--discard-changes', '--yes')).toMatchObject({
      exitCode: 1,
      error: { code: 'REFUSED', message: expect.stringContaining('older holdfast') },
    });
    expect((await host.look()).marks).toMatchObject({ state: 'promoted' });
  });

  it('an export of any server has none of it, and that is said', async () => {
    const folder = await temporaryFolder();
    const [volume, image] = [join(folder, 'v'), join(folder, 'other.img')];
    await writeFile(image, Buffer.alloc(1024 * 1024));
    const server = await serve(folder, image);
    onTestFinished(async () => void (await server.stop()));
    await ok('create', volume, '--members', '1', '--size', '1MiB');
    await ok('replica', 'add', volume, '--to', server.uri);
    await ok('replica', 'sync', volume);
    const { stdout } = await runHoldfast(['replica', 'status', volume, '--explain']);
    expect(stdout).toContain('no "serve --secondary" offers');
    const { json } = await runJson(['replica', 'resume', volume, '--discard-changes', '--yes']);
    expect(json).toMatchObject({
      exitCode: 1,
      error: { code: 'REFUSED', message: expect.stringContaining('no "serve --secondary" offers') },
    });
    // That has not ended it.
    await ok('replica', 'sync', volume);
  });

  const id = 'ab'.repeat(16);
  const list = (...ranges: number[][]) => ({ ranges, trouble: null });
  const page = { sinceMs: 1, replicas: [], id, written: list(), putBack: list(), next: null };
  it.each([
    ['blocks that it has not', { ...page, written: list([255, 2]) }, 'make no sense'],
    ['blocks of another page', { ...page, putBack: list([0, 11]), next: 10 }, 'make no sense'],
    ['pages that do not go on', { ...page, next: 0 }, 'make no sense'],
    ['a page that is beyond the end', { ...page, next: 1e12 }, 'make no sense'],
    ['ranges of nothing', { ...page, written: list([3, 0]) }, 'do not understand each other'],
    [
      'a list without an end',
      { ...page, written: list(...Array(5000).fill([1, 1])) },
      'do not understand each other',
    ],
    ['no id', { ...page, id: 'x' }, 'do not understand each other'],
  ])('%s', async (_name, changes, why) => {
    const marks = {
      ...{ volumeUuid: id, replicaUuid: id, state: 'promoted', sizeBytes: 256 * BLOCK_BYTES },
      ...{ generation: { number: 2, id }, point: { epoch: 1, atMs: 1 } },
    };
    const payload = Buffer.from(JSON.stringify({ marks, changes, whyNot: null }));
    const uri = await answering(async () => ({ kind: 'done', payload }));
    const side = new RemotePlace(uri).side();
    await expect(side).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      message: expect.stringMatching(why),
    });
  });

  it('one that is written without an end is not looked at for ever', async () => {
    let asks = 0;
    const uri = await answering(async () => {
      asks += 1;
      const marks = {
        ...{ volumeUuid: id, replicaUuid: id, state: 'promoted', sizeBytes: 256 * BLOCK_BYTES },
        ...{ generation: { number: 2, id }, point: { epoch: 1, atMs: 1 } },
      };
      const changes = { ...page, id: asks.toString(16).padStart(32, '0'), next: asks % 2 === 1 ? 10 : null };
      return { kind: 'done', payload: Buffer.from(JSON.stringify({ marks, changes, whyNot: null })) };
    });
    await expect(new RemotePlace(uri).side()).rejects.toMatchObject({ details: { reason: 'stale' } });
    expect(asks).toBe(6);
  });
});
