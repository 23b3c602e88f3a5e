/**
 * A secondary behind a server of ours that was promoted there, and both sides written since: the primary is told by its server which
 * blocks, and makes it a secondary again, whenever that server is killed on the way there.
 */
import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { Relay } from '../support/nbd/relay.js';
import { ServedPair } from '../support/replication/served-pair.js';
import { ok, runHoldfast, runJson } from '../support/run-holdfast.js';
import { serve } from '../support/served.js';

const BLOCK_BYTES = 4096;

/** Blocks 20 to 24 are written here, 23 to 25 and 400 there: 7 differ. */
const DIFFERING = 7;

/** Promoted while it is served, written as a volume while it is not, and served as a place again. */
async function diverge(pair: ServedPair): Promise<void> {
  const promoted = await ok('replica', 'promote', pair.second, '--yes');
  expect(promoted).toMatchObject({ generation: 2, wasPromoted: false });
  await pair.kill();
  await pair.write(23 * BLOCK_BYTES, randomBytes(3 * BLOCK_BYTES), pair.second);
  await pair.write(400 * BLOCK_BYTES + 100, randomBytes(10), pair.second);
  await pair.start();
  await pair.write(20 * BLOCK_BYTES, randomBytes(5 * BLOCK_BYTES));
}

const ranges = (...pairs: [number, number][]) =>
  pairs.map(([block, count]) => ({ offsetBytes: block * BLOCK_BYTES, lengthBytes: count * BLOCK_BYTES }));

async function explained(volume: string): Promise<Record<string, unknown>> {
  const { json } = await runJson(['replica', 'status', volume, '--explain']);
  const { explanation } = json.result as { explanation: { replicas: Record<string, unknown>[] } };
  return explanation.replicas[0]!;
}

describe('promoted behind its server, and written on both sides', { timeout: 300_000 }, () => {
  it('is explained by block, refused with counts, and given up: what differs is copied, and nothing else', async () => {
    const pair = await ServedPair.make();
    await diverge(pair);
    expect(await explained(pair.volume)).toMatchObject({
      ...{ state: 'diverged', relation: 'diverged', whyNot: null, differingBlocks: DIFFERING },
      here: { generation: { number: 1 }, written: { blocks: 5, ranges: ranges([20, 5]) } },
      there: {
        ...{ state: 'promoted', generation: { number: 2 }, parent: { number: 1 } },
        promotedAtMs: expect.any(Number),
        written: { blocks: 4, ranges: ranges([23, 3], [400, 1]), trouble: null },
        putBack: { blocks: 0, trouble: null },
      },
    });
    const text = await runHoldfast(['replica', 'status', pair.volume, '--explain']);
    expect(text.exitCode).toBe(3);
    for (const line of ['changed here  5 blocks', 'changed there 4 blocks', 'differ        7 blocks'])
      expect(text.stdout).toContain(line);
    const primary = await serve(pair.folder, pair.volume);
    expect((await runJson(['replica', 'resume', pair.volume])).json).toMatchObject({
      exitCode: 1,
      error: { code: 'REFUSED', details: { changedBlocksHere: 5, changedBlocksThere: 4 } },
    });
    const discard = ['replica', 'resume', pair.volume, '--discard-changes'];
    expect((await runJson(discard)).json).toMatchObject({ exitCode: 2 });
    const before = await pair.content();
    await ok(...discard, '--yes');
    expect(await ok('replica', 'sync', pair.volume)).toMatchObject({ copiedBlocks: DIFFERING });
    expect((await pair.content()).equals(before)).toBe(true);
    await pair.expectAlike();
    expect(await explained(pair.volume)).toMatchObject({ state: 'in-sync', relation: 'same' });
    await primary.stop();
    // It is a secondary as any other: what is written goes there, and nobody else writes to it.
    await pair.write(7 * BLOCK_BYTES, randomBytes(BLOCK_BYTES));
    await pair.expectAlike();
    await pair.kill();
    const { json } = await runJson(['write', pair.second, '--input', join(pair.folder, 'input')]);
    expect(json).toMatchObject({ error: { code: 'REFUSED' } });
  });

  it.each(['before', 'during', 'after'] as const)(
    'its server is killed %s the request that makes it a secondary, and the same command goes on',
    async (when) => {
      const relays: Relay[] = [];
      const pair = await ServedPair.make({
        through: async (socket) => {
          const path = join(socket, '../../relay.sock');
          relays.push(await Relay.at(path, socket));
          return `nbd+unix:///?socket=${path}`;
        },
      });
      await diverge(pair);
      const there = await readFile(pair.second);
      const here = await pair.content();
      let wasKilled = false;
      relays[0]!.next = {
        ...{ word: '"request":"demote"', when },
        act: async () => {
          await pair.kill();
          wasKilled = true;
        },
      };
      const command = ['replica', 'resume', pair.volume, '--discard-changes', '--yes'];
      expect((await runJson(command)).json.exitCode).not.toBe(0);
      expect(wasKilled).toBe(true);
      // Nothing was copied: it is the volume that it was, or a secondary that is as that volume was.
      expect((await readFile(pair.second)).equals(there)).toBe(true);
      await pair.start();
      const { marks } = await pair.told();
      if (when === 'before') expect(marks.state).toBe('promoted');
      if (when === 'after') expect(marks.state).toBe('consistent');
      expect(await explained(pair.volume)).toMatchObject({
        ...(marks.state === 'promoted'
          ? { relation: 'diverged', state: 'diverged' }
          : { relation: 'same', state: 'unsynchronized' }),
        differingBlocks: DIFFERING,
      });
      await ok(...command);
      await ok('replica', 'sync', pair.volume);
      await pair.expectAlike();
      expect((await pair.content()).equals(here)).toBe(true);
      expect(await ok('replica', 'verify', pair.volume)).toMatchObject({ differingBlocks: 0 });
    },
  );

  it('has replicas of its own, and is not given up while it has', async () => {
    const pair = await ServedPair.make();
    await diverge(pair);
    await pair.kill();
    await ok('replica', 'add', pair.second, '--to', join(pair.folder, 'third.img'), '--name', 'third');
    await pair.start();
    const { json } = await runJson(['replica', 'resume', pair.volume, '--discard-changes', '--yes']);
    expect(json).toMatchObject({ exitCode: 1, error: { code: 'REFUSED' } });
    expect(json.error!.message).toContain('replicas of its own: third');
    expect(await pair.told()).toMatchObject({ marks: { state: 'promoted' } });
  });

  it('is away: that is said, and a pause may end all the same', async () => {
    const pair = await ServedPair.make();
    await pair.kill();
    await ok('replica', 'pause', pair.volume);
    expect(await explained(pair.volume)).toMatchObject({
      ...{ relation: 'unknown', there: null, whyNot: expect.stringContaining('no server listens') },
    });
    await ok('replica', 'resume', pair.volume);
    const discard = await runJson(['replica', 'resume', pair.volume, '--discard-changes', '--yes']);
    expect(discard.json).toMatchObject({ exitCode: 1, error: { code: 'IO_ERROR' } });
  });
});
