/** What was changed since a snapshot, as clients of a served volume are told it: `qemu:dirty-bitmap:SNAPSHOT`. */
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { COMMANDS, ERRORS } from '../../src/nbd/protocol/constants.js';
import type { StatusDescriptor } from '../../src/nbd/protocol/transmission.js';
import { filled, MIB, ONE, RAID } from '../support/backups.js';
import { RawClient, type Reply } from '../support/nbd/raw-client.js';
import { ok } from '../support/run-holdfast.js';
import { serve } from '../support/served.js';

const LIMIT = { timeout: 90_000 };
const BITMAP = 'qemu:dirty-bitmap:one';

/** A served volume with a snapshot, and how a client of it that asks what was changed since comes to be. */
async function servedWithSnapshot(shape: readonly string[]) {
  const { folder, volume } = await filled(shape);
  const served = await serve(folder, volume);
  await ok('snapshot', 'create', volume, '--name', 'one');
  const client = async (contexts: readonly string[] = [BITMAP]) => {
    const one = await RawClient.transmitting(join(folder, 'nbd.sock'), { structured: true, contexts });
    onTestFinished(() => one.close());
    return one;
  };
  return { volume, served, client };
}

function write(client: RawClient, offset: number, blocks: number): Promise<Reply> {
  const data = new Uint8Array(blocks * 4096).fill(7);
  return client.ask({ command: COMMANDS.NBD_CMD_WRITE, offset, data });
}

/** Of the one context that it has: what it is told, or the number of the error. */
async function status(client: RawClient): Promise<readonly StatusDescriptor[] | number> {
  const asked = { command: COMMANDS.NBD_CMD_BLOCK_STATUS, offset: 0, length: 8 * MIB };
  const { status: told, error } = await client.ask(asked);
  return [...told.values()][0] ?? error;
}

describe.each([
  ['RAID-5', RAID],
  ['one image', ONE],
] as const)('of %s, the bitmap of a snapshot', (_, shape) => {
  it('has what was answered, flushed or not', LIMIT, async () => {
    const { served, client } = await servedWithSnapshot(shape);
    const one = await client();
    expect(await status(one)).toEqual([{ length: 8 * MIB, flags: 0 }]);
    await write(one, MIB, 3);
    expect(await status(one)).toEqual([
      { length: MIB, flags: 0 },
      { length: 3 * 4096, flags: 1 },
      { length: 7 * MIB - 3 * 4096, flags: 0 },
    ]);
    await served.stop();
  });
});

it('a bitmap that a client has chosen is not that of a later snapshot of the same name', LIMIT, async () => {
  const { volume, served, client } = await servedWithSnapshot(ONE);
  const one = await client();
  await write(one, MIB, 3);
  await ok('snapshot', 'create', volume, '--name', 'two');
  await ok('snapshot', 'delete', volume, '--name', 'one');
  expect(await status(one)).toBe(ERRORS.NBD_EIO);
  await ok('snapshot', 'create', volume, '--name', 'one');
  expect(await status(one)).toBe(ERRORS.NBD_EIO);
  const later = await client();
  expect(await status(later)).toEqual([{ length: 8 * MIB, flags: 0 }]);
  // The connection is as good as ever for all else.
  expect((await write(one, 0, 2)).error).toBe(0);
  expect(await status(later)).toEqual([
    { length: 2 * 4096, flags: 1 },
    { length: 8 * MIB - 2 * 4096, flags: 0 },
  ]);
  await served.stop();
});
