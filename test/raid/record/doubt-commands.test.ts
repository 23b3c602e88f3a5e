/**
 * A volume that was cut amid writes and has lost a member, as a user meets it: what is in doubt is named to the byte,
 * cannot be read, and stays so until it is written anew; all else reads well.
 */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { RangeSet } from '../../../src/device/range-set.js';
import { openVolume, readStream, volumeStatus } from '../../../src/volume/index.js';
import { chosenSeed, SeededRandom } from '../../support/devices/seeded-random.js';
import { runHoldfast, runJson } from '../../support/run-holdfast.js';
import { temporaryFolder } from '../../support/temporary-folder.js';
import {
  contentOf,
  copyVolume,
  makeVolume,
  SHAPE,
  statusOf,
  type TestVolume,
} from '../../support/volumes.js';
import { cutAmidWrites, startByForce } from './support/crashed-volume.js';

const folder = await temporaryFolder();
const random = new SeededRandom(chosenSeed());
const MIB = 1024 * 1024;
const CHUNK = 4096;
const STRIPE = 2 * CHUNK;
/** Of the member in slot 0 they hold: a data chunk, a data chunk, the parity. */
const STRIPES = [3, 40, 44];
const FIRST = { offsetBytes: 3 * STRIPE, lengthBytes: CHUNK };
const SECOND = { offsetBytes: 40 * STRIPE + CHUNK, lengthBytes: CHUNK };

const content = Buffer.from(random.bytes(MIB));
/** Cut, without its first member. */
let cut: TestVolume;
/** The same, started by force, and stopped. */
let forced: TestVolume;
let count = 0;

beforeAll(async () => {
  const whole = await makeVolume(join(folder, 'whole'), content, SHAPE);
  for (const { offset, bytes } of await cutAmidWrites(whole, STRIPES, random)) content.set(bytes, offset);
  await rm(whole.images[0]!);
  cut = await copyVolume(whole, join(folder, 'cut'));
  forced = await copyVolume(cut, join(folder, 'forced'));
  await startByForce(forced);
});

const fresh = (from: TestVolume) => copyVolume(from, join(folder, `volume-${count++}`));

interface Doubt {
  readonly offsetBytes: number;
  readonly lengthBytes: number;
}

async function doubtOf({ directory }: TestVolume): Promise<readonly Doubt[]> {
  return (await volumeStatus([directory])).inDoubt;
}

/** All but `doubt` reads as `expected`, and nothing of that can be read. */
async function expectAllBut(
  { directory }: TestVolume,
  doubt: readonly Doubt[],
  expected: Buffer,
): Promise<void> {
  const refused = new RangeSet(
    doubt.map(({ offsetBytes, lengthBytes }) => ({ start: offsetBytes, end: offsetBytes + lengthBytes })),
  );
  const volume = await openVolume([directory], { access: 'read', warn: () => undefined });
  try {
    for (let at = 0, length = 0; at < expected.length; at += length) {
      // Where some of it is refused, sector by sector.
      length = at % CHUNK === 0 && !refused.overlaps(at, at + CHUNK) ? CHUNK : 512;
      const part = new Uint8Array(length);
      const isRead = await volume.device.read(at, part).then(
        () => true,
        () => false,
      );
      expect(isRead, `${length} bytes at ${at}`).toBe(!refused.overlaps(at, at + length));
      if (isRead) expect(Buffer.compare(part, expected.subarray(at, at + length)), `at ${at}`).toBe(0);
    }
  } finally {
    await volume.close();
  }
}

/** As the command does it, without its process. */
async function write({ directory }: TestVolume, offset: number, bytes: Uint8Array): Promise<void> {
  const volume = await openVolume([directory], { access: 'write', warn: () => undefined });
  await volume.device.write(offset, bytes);
  await volume.close();
}

describe('before it is started', () => {
  it('status names the byte ranges, to people and to scripts, and exits with 4', async () => {
    const { exitCode, state, dirtyStripes, problems } = await statusOf(cut.directory);
    expect({ exitCode, state, dirtyStripes }).toEqual({
      exitCode: 4,
      state: 'dirty-degraded',
      dirtyStripes: 3,
    });
    expect(await doubtOf(cut)).toEqual([FIRST, SECOND]);
    expect(problems.map(({ code }) => code)).toEqual(expect.arrayContaining(['DIRTY_DEGRADED', 'IN_DOUBT']));
    const { stdout, exitCode: again } = await runHoldfast(['status', cut.directory]);
    expect(again).toBe(4);
    for (const { offsetBytes } of [FIRST, SECOND])
      expect(stdout).toContain(`4096 bytes at offset ${offsetBytes}`);
  });

  it.each([['write', '--input', '-'], ['recover'], ['member', 'add', '--image', 'new.img']])(
    '%s without --force is refused, names them, and writes nothing',
    async (...words) => {
      const before = await contentOf(cut.directory);
      const command = words[0] === 'member' ? words.slice(0, 2) : words.slice(0, 1);
      const args = [...command, cut.directory, ...words.slice(command.length)];
      const { exitCode, json } = await runJson(args, { cwd: folder, input: 'x' });
      expect(exitCode).toBe(1);
      expect(json.error).toMatchObject({
        code: 'REFUSED',
        hint: expect.stringContaining('--force'),
        details: { inDoubt: [FIRST, SECOND], slots: [0] },
      });
      expect(await contentOf(cut.directory)).toEqual(before);
    },
  );

  it('it can be read as it is, but for them', async () => {
    await expectAllBut(cut, [FIRST, SECOND], content);
  });
});

describe('started by force', () => {
  it('recover says what is in doubt; the volume is degraded then, and its status still exits with 4', async () => {
    const volume = await fresh(cut);
    const { exitCode, json } = await runJson(['recover', volume.directory, '--force']);
    expect(exitCode).toBe(0);
    expect(json.warnings.join()).toMatch(
      new RegExp(`in doubt: 4096 at offset ${FIRST.offsetBytes}, 4096 at`),
    );
    expect(await statusOf(volume.directory)).toMatchObject({
      exitCode: 4,
      state: 'degraded',
      dirtyStripes: 0,
    });
    expect(await doubtOf(volume)).toEqual([FIRST, SECOND]);
  });

  it('a read that meets a range exits with 1 after the bytes before it', async () => {
    const { exitCode, stdoutBytes, stderr } = await runHoldfast(['read', forced.directory, '--output', '-']);
    expect(exitCode).toBe(1);
    expect(stdoutBytes.equals(content.subarray(0, FIRST.offsetBytes))).toBe(true);
    expect(stderr).toMatch(new RegExp(`at offset ${FIRST.offsetBytes} are in doubt`));
    expect(stderr).toMatch(/write the range anew/);
  });

  it('everything else reads well', async () => {
    await expectAllBut(forced, [FIRST, SECOND], content);
  });

  it('it stays in doubt over openings, writes elsewhere, and writes beside it in the same stripes', async () => {
    const volume = await fresh(forced);
    const expected = Buffer.from(content);
    // The last is the other data chunk of the first range's stripe.
    for (const offset of [0, 100 * STRIPE, 3 * STRIPE + CHUNK]) {
      const bytes = random.bytes(CHUNK);
      await write(volume, offset, bytes);
      expected.set(bytes, offset);
      expect(await doubtOf(volume)).toEqual([FIRST, SECOND]);
    }
    await expectAllBut(volume, [FIRST, SECOND], expected);
    expect((await volumeStatus([volume.directory])).state).toBe('degraded');
  });

  it('what is written anew is in doubt no more, just that', async () => {
    const volume = await fresh(forced);
    const expected = Buffer.from(content);
    const [whole, part] = [random.bytes(CHUNK), random.bytes(512)];
    await write(volume, FIRST.offsetBytes, whole);
    await write(volume, SECOND.offsetBytes + 1024, part);
    expected.set(whole, FIRST.offsetBytes);
    expected.set(part, SECOND.offsetBytes + 1024);
    const left = [
      { offsetBytes: SECOND.offsetBytes, lengthBytes: 1024 },
      { offsetBytes: SECOND.offsetBytes + 1536, lengthBytes: CHUNK - 1536 },
    ];
    expect(await doubtOf(volume)).toEqual(left);
    await expectAllBut(volume, left, expected);
  });

  it('and cut again, it is what was in doubt and what was written then', async () => {
    const volume = await fresh(forced);
    const expected = Buffer.from(content);
    for (const { offset, bytes } of await cutAmidWrites(volume, [60], random)) expected.set(bytes, offset);
    const doubt = [FIRST, SECOND, { offsetBytes: 60 * STRIPE, lengthBytes: CHUNK }];
    expect(await doubtOf(volume)).toEqual(doubt);
    expect((await volumeStatus([volume.directory])).state).toBe('dirty-degraded');
    await startByForce(volume);
    expect(await doubtOf(volume)).toEqual(doubt);
    await expectAllBut(volume, doubt, expected);
  });
});

describe('rebuilt on a new member', () => {
  it('it is bad there, and cannot be read: nobody can tell what it was', async () => {
    const volume = await fresh(forced);
    const image = join(volume.directory, 'new.img');
    const added = await runJson(['member', 'add', volume.directory, '--image', image]);
    expect(added.exitCode, added.stdout).toBe(0);
    const status = await volumeStatus([volume.directory]);
    const member = status.members.find((each) => each.image === image)!;
    const { dataOffsetBytes } = status.raid!;
    const bad = STRIPES.slice(0, 2).map((stripe) => stripe * CHUNK);
    const offsets = member.badBlocks.map(({ offsetBytes }) => offsetBytes % dataOffsetBytes);
    expect(offsets).toEqual(bad);
    await expectAllBut(volume, [FIRST, SECOND], content);
    // What lies beside it in its stripe can be written; it stays what it is by that.
    const expected = Buffer.from(content);
    const beside = random.bytes(CHUNK);
    await write(volume, FIRST.offsetBytes + CHUNK, beside);
    expected.set(beside, FIRST.offsetBytes + CHUNK);
    await expectAllBut(volume, [FIRST, SECOND], expected);
    // Written anew, it is whole.
    for (const { offsetBytes } of [FIRST, SECOND]) {
      const bytes = random.bytes(CHUNK);
      await write(volume, offsetBytes, bytes);
      expected.set(bytes, offsetBytes);
    }
    await expectAllBut(volume, [], expected);
    expect((await runHoldfast(['scrub', volume.directory])).exitCode).toBe(0);
    expect((await statusOf(volume.directory)).exitCode).toBe(0);
  });
});

it('a volume of which nothing was being written on the missing member has nothing in doubt', async () => {
  const volume = await copyVolume(forced, join(folder, `volume-${count++}`));
  for (const { offsetBytes } of [FIRST, SECOND]) await write(volume, offsetBytes, random.bytes(CHUNK));
  const expected: Buffer[] = [];
  for await (const piece of readAllOf(volume)) expected.push(Buffer.from(piece));
  for (const { offset, bytes } of await cutAmidWrites(volume, [44], random))
    Buffer.from(bytes).copy(expected[0]!, offset);
  expect(await volumeStatus([volume.directory])).toMatchObject({ state: 'dirty-degraded', inDoubt: [] });
  expect(await startByForce(volume)).toMatch(/held nothing of what was being written/);
  expect(await statusOf(volume.directory)).toMatchObject({ exitCode: 3, state: 'degraded' });
  await expectAllBut(volume, [], expected[0]!);
});

async function* readAllOf({ directory }: TestVolume): AsyncGenerator<Uint8Array> {
  const volume = await openVolume([directory], { access: 'read', warn: () => undefined });
  try {
    yield* readStream(volume.device, 0, volume.device.size);
  } finally {
    await volume.close();
  }
}
