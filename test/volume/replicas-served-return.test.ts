/**
 * The old primary of a volume that was promoted comes back, behind a server of ours: it tells which blocks it has written, and
 * becomes a secondary, whenever its server is killed on the way there.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { idOfOld } from '../../src/volume/replication/generations/old-primary.js';
import { placesOfImage } from '../../src/volume/replication/places.js';
import { readReplicas } from '../../src/volume/replication/replicas-file.js';
import { RemoteOldPrimary } from '../../src/volume/replication/secondary/remote-old-primary.js';
import { Relay } from '../support/nbd/relay.js';
import { ServedPair } from '../support/replication/served-pair.js';
import { ok, runJson } from '../support/run-holdfast.js';
import { type Served, serve } from '../support/served.js';

const BLOCK_BYTES = 4096;
/** Blocks 20 to 24 are written by the old primary, 23 to 25 by the new one: 6 differ. */
const LOST = 5;
const DIFFERING = 6;

/** `second` was promoted, and is a volume that nobody serves; both sides were written; the old primary is offered as a place. */
class Return {
  readonly uri: string;
  #server: Served | null = null;

  private constructor(
    readonly pair: ServedPair,
    private readonly relay: Relay,
    relayPath: string,
  ) {
    this.uri = `nbd+unix:///?socket=${relayPath}`;
  }

  static async make(): Promise<Return> {
    const pair = await ServedPair.make();
    await ok('replica', 'promote', pair.second, '--yes');
    await pair.kill();
    await pair.write(20 * BLOCK_BYTES, randomBytes(5 * BLOCK_BYTES));
    await pair.write(23 * BLOCK_BYTES, randomBytes(3 * BLOCK_BYTES), pair.second);
    const folder = join(pair.folder, 'old');
    await mkdir(folder);
    const path = join(folder, 'relay.sock');
    const made = new Return(pair, await Relay.at(path, join(folder, 'nbd.sock')), path);
    onTestFinished(() => made.kill());
    await made.start();
    return made;
  }

  get image(): string {
    return join(this.pair.volume, 'disk.img');
  }

  get command(): string[] {
    return ['replica', 'add', this.pair.second, '--to', this.uri, '--discard-changes'];
  }

  async start(): Promise<void> {
    this.#server = await serve(join(this.pair.folder, 'old'), this.image, ['--secondary']);
  }

  async kill(): Promise<void> {
    await this.#server?.stop('SIGKILL');
    this.#server = null;
  }

  killAt(request: string, when: 'before' | 'during' | 'after'): void {
    this.relay.next = { word: `"request":"${request}"`, when, act: () => this.kill() };
  }

  async expectAlike(): Promise<void> {
    expect((await readFile(this.image)).equals(await readFile(this.pair.second))).toBe(true);
  }
}

describe('the old primary behind a server', { timeout: 300_000 }, () => {
  it('becomes a secondary: what differs is copied, and nothing else', async () => {
    const back = await Return.make();
    const { pair, command } = back;
    const plain = await runJson(['replica', 'add', pair.second, '--to', back.uri]);
    expect(plain.json.error).toMatchObject({ code: 'REFUSED', details: { discardedBlocks: LOST } });
    const asked = await runJson(command);
    expect(asked.json).toMatchObject({ exitCode: 2, error: { code: 'CONFIRMATION_REQUIRED' } });
    expect(asked.json.error!.message).toContain(`${LOST} blocks`);
    const before = await readFile(pair.second);
    const added = await ok(...command, '--name', 'old', '--yes');
    expect(added).toMatchObject({ name: 'old', discardedBlocks: LOST });
    await ok('replica', 'sync', pair.second);
    await back.expectAlike();
    expect((await readFile(pair.second)).equals(before)).toBe(true);
    // It is one as any other, and no volume any more.
    await pair.write(100 * BLOCK_BYTES, randomBytes(BLOCK_BYTES), pair.second);
    await back.expectAlike();
    expect(await ok('replica', 'verify', pair.second)).toMatchObject({ differingBlocks: 0 });
    expect((await runJson(['write', pair.volume, '--input', join(pair.folder, 'input')])).exitCode).not.toBe(
      0,
    );
  });

  it('copies as many blocks as differ', async () => {
    const back = await Return.make();
    const served = await serve(back.pair.folder, back.pair.second);
    await ok(...back.command, '--yes');
    expect(await ok('replica', 'sync', back.pair.second)).toMatchObject({ copiedBlocks: DIFFERING });
    await served.stop();
    await back.expectAlike();
  });

  it.each(['before', 'during', 'after'] as const)(
    'its server is killed %s the request that makes it a secondary, and the same command goes on',
    async (when) => {
      const back = await Return.make();
      const [old, second] = [await readFile(back.image), await readFile(back.pair.second)];
      back.killAt('rejoin', when);
      expect((await runJson([...back.command, '--yes'])).exitCode).not.toBe(0);
      expect((await readFile(back.image)).equals(old)).toBe(true);
      await back.start();
      await ok(...back.command, '--yes');
      await ok('replica', 'sync', back.pair.second);
      await back.expectAlike();
      expect((await readFile(back.pair.second)).equals(second)).toBe(true);
      expect(await ok('replica', 'verify', back.pair.second)).toMatchObject({ differingBlocks: 0 });
    },
  );

  it('is refused where it has written other blocks since it was looked at', async () => {
    const back = await Return.make();
    const ours = await readReplicas((await placesOfImage(back.pair.second)).replicas);
    const remote = new RemoteOldPrimary(back.uri, ours);
    const seen = idOfOld(await remote.look());
    expect(idOfOld(await remote.look())).toBe(seen);
    await back.kill();
    await back.pair.write(900 * BLOCK_BYTES, randomBytes(BLOCK_BYTES));
    await back.start();
    const old = await readFile(back.image);
    const secondary = { replicaUuid: '44'.repeat(16), generation: ours.generation };
    await expect(remote.rejoin(secondary, seen)).rejects.toMatchObject({
      code: 'REFUSED',
      details: { reason: 'stale' },
    });
    expect((await readFile(back.image)).equals(old)).toBe(true);
    expect([...(await remote.look()).changed.runs()]).toEqual([
      { from: 20, count: 5 },
      { from: 900, count: 1 },
    ]);
  });

  it('of another volume is refused, and nothing is changed', async () => {
    const back = await Return.make();
    const other = await ServedPair.make();
    await ok('replica', 'promote', other.second, '--yes');
    await other.kill();
    const old = await readFile(back.image);
    const { json } = await runJson([
      ...['replica', 'add', other.second, '--to', back.uri],
      ...['--discard-changes', '--yes'],
    ]);
    expect(json.error).toMatchObject({
      code: 'REFUSED',
      message: expect.stringContaining('it is not known which blocks differ'),
    });
    expect((await readFile(back.image)).equals(old)).toBe(true);
  });
});
