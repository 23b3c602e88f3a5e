/** What is zeroed over NBD: at once where the images can have holes, and never slowly for who wants it fast. */
import { randomBytes } from 'node:crypto';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { isPunchable } from '../../src/device/file-holes.js';
import { COMMAND_FLAGS, COMMANDS, ERRORS } from '../../src/nbd/protocol/constants.js';
import { RawClient } from '../support/nbd/raw-client.js';
import { runHoldfast } from '../support/run-holdfast.js';
import { serve } from '../support/served.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const MIB = 1024 * 1024;
const { NBD_CMD_FLAG_FAST_ZERO, NBD_CMD_FLAG_NO_HOLE } = COMMAND_FLAGS;

async function allocatedBytes(images: readonly string[]): Promise<number> {
  const found = await Promise.all(images.map((image) => stat(image)));
  return found.reduce((sum, { blocks }) => sum + blocks * 512, 0);
}

describe.each([
  ['a RAID-5 volume', '4', ['member-0.img', 'member-1.img', 'member-2.img', 'member-3.img']],
  ['one image', '1', ['disk.img']],
])('%s', { timeout: 60_000 }, (_what, members, names) => {
  it('is zeroed fast where its images can have holes, and not with NO_HOLE', async () => {
    const folder = await temporaryFolder();
    const volume = join(folder, 'v');
    await runHoldfast(['create', volume, '--members', members, '--size', '24MiB']);
    const images = names.map((name) => join(volume, name));
    const isFast = (await Promise.all(images.map((image) => isPunchable(image)))).every(Boolean);
    const served = await serve(folder, volume);
    const client = await RawClient.transmitting(join(folder, 'nbd.sock'));
    const data = randomBytes(12 * MIB);
    await client.ask({ command: COMMANDS.NBD_CMD_WRITE, offset: 0, data });
    await client.ask({ command: COMMANDS.NBD_CMD_FLUSH });
    const before = await allocatedBytes(images);
    const zeroes = { command: COMMANDS.NBD_CMD_WRITE_ZEROES, offset: 0, length: 12 * MIB };
    const solid = await client.ask({ ...zeroes, flags: NBD_CMD_FLAG_FAST_ZERO | NBD_CMD_FLAG_NO_HOLE });
    expect(solid.error).toBe(ERRORS.NBD_ENOTSUP);
    expect(Buffer.compare(await client.read(0, 12 * MIB), data)).toBe(0);
    const fast = await client.ask({ ...zeroes, flags: NBD_CMD_FLAG_FAST_ZERO });
    expect(fast.error).toBe(isFast ? 0 : ERRORS.NBD_ENOTSUP);
    if (isFast) {
      expect((await client.read(0, 12 * MIB)).every((byte) => byte === 0)).toBe(true);
      await client.ask({ command: COMMANDS.NBD_CMD_FLUSH });
      expect(await allocatedBytes(images)).toBeLessThan(before - 11 * MIB);
    }
    client.close();
    await served.stop();
    if (members === '4') expect((await runHoldfast(['scrub', volume])).exitCode).toBe(0);
  });
});

it('a device and a filesystem without holes are not taken for what has them', async () => {
  expect(await isPunchable('/dev/null')).toBe(false);
  expect(await isPunchable('/proc/version')).toBe(false);
});
