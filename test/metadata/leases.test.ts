/** Clients, leases and locks, with a clock that the test turns. */
import { beforeEach, describe, expect, it } from 'vitest';
import { type Ask, bits, finish, harden, makeFile, NONE, Stage } from './support/stage.js';

let stage: Stage;
let ask: Ask;
let other: Ask;
let file: number;

beforeEach(async () => {
  stage = await Stage.make({ leaseMs: 10_000, extents: 2000 });
  ask = await stage.open('a');
  other = await stage.open('b');
  file = await makeFile(ask, 'disk');
});

/** Time passes, and only b says something. */
async function passes(ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= 5000) {
    stage.nowMs += Math.min(left, 5000);
    await other('Renew_Lease', {});
  }
}

const hasEnded = () =>
  ask('Space', {}).then(
    () => false,
    (cause) => cause.details.reason === 'lease-ended',
  );

describe('a lease', () => {
  it('is renewed by whatever the client says, and lasts its whole length', async () => {
    for (let n = 0; n < 3; n++) {
      await passes(10_000);
      expect(await ask('Renew_Lease', {})).toEqual({ leaseMs: 10_000 });
    }
    await passes(10_000);
    expect(await ask('Space', {})).toMatchObject({ free: 2000 });
  });

  it('ends when it is over: the client is told, and what it had is freed, in steps', async () => {
    const events = stage.events('a');
    for (let n = 0; n < 3; n++) await ask('Allocate_Journal_Space', { count: 300 });
    stage.engine.commits = 0;
    await passes(10_001);
    await stage.settledCheck();
    expect(events).toEqual([{ type: 'lease-ended' }]);
    expect(stage.engine.commits).toBeGreaterThan(7);
    expect(await other('Space', {})).toMatchObject({ free: 2000, journal: 0 });
    expect(await hasEnded()).toBe(true);
  });

  it('begins anew with the server: every client can come back', async () => {
    await passes(9000);
    await stage.restart();
    await passes(9000);
    expect(await hasEnded()).toBe(false);
    await passes(10_001);
    expect(await hasEnded()).toBe(true);
  });

  it('ends also where the server dies at any step of it', async () => {
    for (let n = 0; n < 2; n++) await ask('Allocate_Journal_Space', { count: 300 });
    const { transaction } = await harden(ask, [{ file, index: 0, marked: bits(1) }]);
    for (let commits = 0; commits < 8; commits++) {
      stage.engine.commitsLeft = commits === 0 ? 1 : 2;
      await other('End_Client', { ended: 'a' }).catch(() => null);
      await stage.server.settled().catch((cause) => expect(cause.code).toBe('IO_ERROR'));
      await stage.restart();
      await stage.check();
    }
    await stage.settledCheck();
    expect(await other('Space', {})).toMatchObject({ free: 1999, journal: 1 });
    expect(await other('Take_Over', {})).toEqual({ transactions: [transaction] });
    await finish(other, transaction);
    await stage.check();
  });

  it('that ended while the client comes back: what is not freed yet is its own again', async () => {
    const { extents } = await ask('Allocate_Journal_Space', { count: 500 });
    await ask('Associate_Data_Journal', { file, index: 3, journal: extents[499]! });
    stage.engine.commitsLeft = 2;
    await other('End_Client', { ended: 'a' });
    await stage.server.settled().catch(() => null);
    await stage.restart();
    const left = await ask('Open_Client', {});
    expect(left.isNew).toBe(false);
    expect(left.journal).toMatchObject([{ extent: extents[499], file, index: 3 }]);
    await stage.settledCheck();
    expect(await other('Space', {})).toMatchObject({ free: 1999, journal: 1 });
    expect(await hasEnded()).toBe(false);
  });

  it('is closed by the client: what is not hardened is given up, what is hardened is for others', async () => {
    const { transaction } = await harden(ask, [{ file, index: 0, marked: bits(1) }]);
    const { extents } = await ask('Allocate_Journal_Space', { count: 1 });
    const kept = { file, index: 1, journal: extents[0]!, marked: bits(1), cleared: NONE };
    await ask('Harden_Extent_Flags', { extents: [kept], sizes: [{ file, sizeBytes: 1 }], starts: false });
    await ask('Close_Client', {});
    await stage.settledCheck();
    expect(stage.orphans).toEqual([transaction]);
    expect(await other('Space', {})).toMatchObject({ free: 1999, journal: 1 });
    // The same client in a new life takes its own over like any other.
    expect(await ask('Open_Client', {})).toMatchObject({ isNew: true, transactions: [], sizes: [] });
    expect(await ask('Take_Over', {})).toEqual({ transactions: [transaction] });
  });
});

describe('a lock', () => {
  it('is shared by readers, and a writer’s alone', async () => {
    expect(await ask('Lock_File', { file, mode: 'read' })).toEqual({ isGranted: true });
    expect(await other('Lock_File', { file, mode: 'read' })).toEqual({ isGranted: true });
    const [first, second] = [stage.events('a'), stage.events('b')];
    expect(await other('Lock_File', { file, mode: 'write' })).toEqual({ isGranted: false });
    expect(first).toEqual([{ type: 'lock-wanted', file, mode: 'write' }]);
    await ask('Unlock_File', { file });
    expect(second).toEqual([{ type: 'lock-free', file }]);
    expect(await other('Lock_File', { file, mode: 'write' })).toEqual({ isGranted: true });
    expect(await ask('Lock_File', { file, mode: 'read' })).toEqual({ isGranted: false });
  });

  it('keeps others from committing, removing, and a writer’s from freezing', async () => {
    const inUse = { code: 'IN_USE' };
    await other('Lock_File', { file, mode: 'read' });
    await expect(harden(ask, [{ file, index: 0, marked: bits(1) }])).rejects.toMatchObject(inUse);
    await expect(ask('Remove_File', { file })).rejects.toMatchObject(inUse);
    await ask('Snapshot_File', { file, name: 's' });
    await other('Lock_File', { file, mode: 'write' });
    await expect(ask('Snapshot_File', { file, name: 't' })).rejects.toMatchObject(inUse);
    await other('Unlock_File', { file });
    await harden(ask, [{ file, index: 0, marked: bits(1) }]);
    await stage.check();
  });

  it('is there after a restart of the server', async () => {
    await other('Lock_File', { file, mode: 'write' });
    await stage.restart();
    expect(await ask('Lock_File', { file, mode: 'write' })).toEqual({ isGranted: false });
    expect((await other('Open_Client', {})).locks).toEqual([{ file, mode: 'write' }]);
  });
});
