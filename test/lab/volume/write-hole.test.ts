/**
 * The write hole of an array without its dirty-stripe record, as docs/crash-lab.md has a user look at it: explored, found in what a lost member
 * held, seen in the images themselves without any of the product's code, and closed by the record and a recovery.
 */
import { randomBytes } from 'node:crypto';
import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { expectSame } from '../../conformance/block-device.js';
import { isInstalled } from '../../nbd/client/servers.js';
import { succeed } from '../../support/lab/recorded-volume.js';
import { ok, runHoldfast, runJson } from '../../support/run-holdfast.js';
import { temporaryFolder } from '../../support/temporary-folder.js';

const PAGE = new URL('../../../docs/crash-lab.md', import.meta.url);
const LIMIT = { timeout: 120_000 };
const CHUNK = 16 * 1024;
/** What is written while it is recorded, and what another member holds of the same rows. */
const WRITTEN = { offset: 8 * 1024, length: 4096 };
const UNTOUCHED = { offset: CHUNK + WRITTEN.offset, length: WRITTEN.length };
const KIND = 'what nobody wrote has changed';

interface Found {
  readonly states: number;
  readonly failures: readonly { kind: string; message: string; text: string; file: string }[];
}

const folder = await temporaryFolder();
const before = randomBytes(2 * 1024 * 1024);
const trace = join(folder, 'array.trace');

async function explore(...flags: readonly string[]) {
  const { exitCode, json } = await runJson(['crash', 'explore', trace, ...flags]);
  return { exitCode, ...(json.result as unknown as Found) };
}

const part = (bytes: Uint8Array, { offset, length }: typeof WRITTEN) =>
  bytes.subarray(offset, offset + length);

describe.runIf(isInstalled('qemu-io'))('the write hole', () => {
  beforeAll(async () => {
    const page = await readFile(PAGE, 'utf8');
    const [block] = page.slice(page.indexOf('### The write hole')).match(/(?<=```sh\n)(.*?)(?=```)/s)!;
    const lines = block!.trim().split('\n');
    const [record, program] = lines[2]!.split(" -- '");
    expect(record).toBe('holdfast crash record array --trace array.trace');
    expect(lines[3]).toBe('holdfast crash explore array.trace --max-seconds 20');
    expect(lines[4]).toBe('holdfast crash explore array.trace --assume-clean --failures found');
    await writeFile(join(folder, 'data.img'), before);
    const words = [...lines.slice(0, 2), record!].map((line) => line.split(' ').slice(1));
    words[2]!.push('--', program!.slice(0, -1));
    for (const each of words) {
      const { exitCode, stderr } = await runHoldfast(each, { cwd: folder });
      expect([each, exitCode, stderr]).toEqual([each, 0, '']);
    }
  });

  it('is none with the record', LIMIT, async () => {
    const { exitCode, states, failures } = await explore('--max-states', '10000');
    expect([exitCode, states, failures]).toEqual([0, 10_000, []]);
  });

  it(
    'without it: what a member held that nobody wrote to is wrong when that one is lost',
    LIMIT,
    async () => {
      const { exitCode, failures } = await explore(
        '--assume-clean',
        '--max-states',
        '5000',
        '--failures',
        join(folder, 'found'),
      );
      expect([exitCode, failures.map(({ kind }) => kind)]).toEqual([4, [KIND]]);
      const [{ message, text, file }] = failures as [Found['failures'][number]];
      const at = Number(/byte at offset (\d+) of array/.exec(message)?.[1]);
      expect(at).toBeGreaterThanOrEqual(UNTOUCHED.offset);
      expect(at).toBeLessThan(UNTOUCHED.offset + UNTOUCHED.length);
      expect(text).toContain('without');
      await stateHolds(file);
    },
  );

  /** The same cut, in the images: of what the record says, and of what their bytes say. */
  async function stateHolds(file: string): Promise<void> {
    const state = join(folder, 'state');
    const replayed = await ok('crash', 'replay', trace, '--failure', file, '--output', state);
    const images = [0, 1, 2].map((slot) => join(state, `${slot}-member-${slot}.img`));
    const others = [images[0]!, images[2]!];
    expect(replayed).toEqual({ images: others, missing: `${images[1]}.missing` });
    await rename(`${images[1]}.missing`, images[1]!);
    const { dataOffsetBytes } = await superblockOf(images[0]!);
    const row = { offset: dataOffsetBytes + WRITTEN.offset, length: WRITTEN.length };
    const madeFromParity = async () => {
      const [data, parity] = await Promise.all(others.map(async (image) => part(await readFile(image), row)));
      return data!.map((byte, index) => byte ^ parity![index]!);
    };
    const wanted = part(before, UNTOUCHED);
    expect(Buffer.compare(await madeFromParity(), wanted)).not.toBe(0);
    expectSame(part(await readFile(images[1]!), row), wanted);
    const range = ['--offset', `${UNTOUCHED.offset}`, '--length', `${UNTOUCHED.length}`];
    const refused = await runJson(['read', ...others, ...range, '--output', join(folder, 'refused')]);
    expect([refused.exitCode, refused.json.error?.code]).toEqual([1, 'DATA_UNAVAILABLE']);
    await ok('recover', ...images);
    expectSame(await madeFromParity(), wanted);
    await ok('read', ...others, ...range, '--output', join(folder, 'read'));
    expectSame(await readFile(join(folder, 'read')), wanted);
  }

  it('is of nothing that has no parity', LIMIT, async () => {
    const [plain, of] = [join(folder, 'plain'), join(folder, 'plain.trace')];
    await ok('create', plain, '--members', '1', '--size', '1MiB');
    await succeed(['crash', 'record', plain, '--trace', of, '--', 'true']);
    const { exitCode, json } = await runJson(['crash', 'explore', of, '--assume-clean']);
    expect([exitCode, json.error?.code]).toEqual([1, 'UNSUPPORTED']);
    const both = await runJson(['crash', 'explore', trace, '--assume-clean', '--check', 'true']);
    expect([both.exitCode, both.json.error?.code]).toEqual([2, 'USAGE']);
  });
});

async function superblockOf(image: string): Promise<{ readonly dataOffsetBytes: number }> {
  const { json } = await runJson(['examine', image]);
  const { images } = json.result as unknown as {
    images: [{ superblocks: [{ dataOffsetBytes: number }] }];
  };
  return images[0].superblocks[0];
}
