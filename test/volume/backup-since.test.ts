/** Increments by what was noted as changed since: they read that alone, and restore to the bytes of the volume, also after a kill. */
import { randomBytes } from 'node:crypto';
import { open, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { NbdDevice } from '../../src/nbd/client/nbd-device.js';
import { BLOCK_BYTES, filled, MIB, ONE, RAID } from '../support/backups.js';
import { ok, okQuietly } from '../support/run-holdfast.js';
import { serve } from '../support/served.js';
import { readAll } from '../support/volumes.js';

const LIMIT = { timeout: 120_000 };

async function writeAt(folder: string, volume: string, offset: number, bytes: number): Promise<void> {
  await writeFile(join(folder, 'input'), randomBytes(bytes));
  await ok('write', volume, '--offset', String(offset), '--input', join(folder, 'input'));
}

async function backUp(
  volume: string,
  set: string,
  name: string,
  since?: string,
): Promise<Record<string, unknown>> {
  const flags = since === undefined ? [] : ['--since', since];
  return ok('backup', 'create', volume, '--output', `${set}/`, '--name', name, ...flags);
}

async function expectRestores(folder: string, set: string, name: string, volume: string): Promise<void> {
  const image = join(folder, `${name}.img`);
  await ok('backup', 'restore', set, '--name', name, '--to', image);
  expect(Buffer.compare(await readFile(image), await readAll(volume))).toBe(0);
}

describe.each([
  ['RAID-5', RAID],
  ['one image', ONE],
] as const)('a backup since another one, of %s', (_, shape) => {
  it('reads what was changed, and nothing else, at rest', LIMIT, async () => {
    const { folder, volume } = await filled(shape);
    const set = join(folder, 'set');
    await backUp(volume, set, 'first');
    await writeAt(folder, volume, 7 * BLOCK_BYTES, 3 * BLOCK_BYTES);
    await writeAt(folder, volume, 20 * MIB, BLOCK_BYTES);
    const second = await backUp(volume, set, 'second', 'first');
    expect(second.copiedBytes).toBe(4 * BLOCK_BYTES);
    await expectRestores(folder, set, 'second', volume);
    await writeAt(folder, volume, 20 * MIB, BLOCK_BYTES);
    // Since one that is not the newest: what came before the newest counts too.
    expect((await backUp(volume, set, 'third', 'first')).copiedBytes).toBe(4 * BLOCK_BYTES);
    await expectRestores(folder, set, 'third', volume);
  });

  it('is exact after its server was killed', LIMIT, async () => {
    const { folder, volume } = await filled(shape);
    const set = join(folder, 'set');
    const served = await serve(folder, volume);
    await backUp(volume, set, 'first');
    const client = await NbdDevice.open(served.uri, { readOnly: false });
    for (const block of [3, 900, 901, 4000])
      await client.write(block * BLOCK_BYTES, randomBytes(BLOCK_BYTES));
    await client.flush();
    await served.stop('SIGKILL');
    await client.close().catch(() => {});
    await okQuietly('recover', volume);
    const second = await backUp(volume, set, 'second', 'first');
    // Of an image nobody can tell who has written to it after the kill: all is compared.
    if (shape === RAID) expect(second.copiedBytes).toBe(4 * BLOCK_BYTES);
    else expect(second.copiedBytes).toBeGreaterThan(2 * MIB);
    await expectRestores(folder, set, 'second', volume);
    await writeAt(folder, volume, 30 * BLOCK_BYTES, BLOCK_BYTES);
    expect((await backUp(volume, set, 'third', 'second')).copiedBytes).toBe(BLOCK_BYTES);
    await expectRestores(folder, set, 'third', volume);
  });

  it('compares all that is in use where somebody else has written', LIMIT, async () => {
    const { folder, volume } = await filled(shape);
    const set = join(folder, 'set');
    await backUp(volume, set, 'first');
    // A member of an array that others write has other superblocks: here it is the list that is of another time.
    if (shape === ONE) {
      const image = await open(join(volume, 'disk.img'), 'r+');
      await image.write(randomBytes(BLOCK_BYTES), 0, BLOCK_BYTES, 9 * BLOCK_BYTES);
      await image.close();
    } else {
      const list = join(volume, 'snapshots', 'snapshots.json');
      await writeFile(list, (await readFile(list, 'utf8')).replace(/"events": "\d+"/, '"events": "1"'));
      await writeAt(folder, volume, 9 * BLOCK_BYTES, BLOCK_BYTES);
    }
    const second = await backUp(volume, set, 'second', 'first');
    expect(second.copiedBytes).toBeGreaterThan(2 * MIB);
    await expectRestores(folder, set, 'second', volume);
  });
});
