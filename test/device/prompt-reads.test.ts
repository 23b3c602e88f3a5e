/** Reads from the page cache that stay on the thread: what they hand on, and that they let others have their turn. */
import { open, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { PromptReads, type ReadNow } from '../../src/device/prompt-reads.js';
import { withSeed } from '../support/devices/seeded-random.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const EAGAIN = 11;
const EOPNOTSUPP = 95;

/** Loaded, with a kernel that answers as told. */
async function loaded(readNow: ReadNow): Promise<PromptReads> {
  const reads = new PromptReads(() => Promise.resolve(readNow));
  for (let read = 0; read < 200; read++) reads.read(0, [new Uint8Array(1)], 0);
  await new Promise((resolve) => setImmediate(resolve));
  return reads;
}

const block = () => [new Uint8Array(4096)];
const all: ReadNow = (_, buffers) => buffers.reduce((sum, buffer) => sum + buffer.byteLength, 0);

it('nothing is loaded for a command that reads little', () => {
  const reads = new PromptReads(() => Promise.reject(new Error('it was loaded')));
  for (let read = 0; read < 100; read++) expect(reads.read(0, block(), 0)).toBeNull();
});

describe('what the kernel does not do at once is left to the thread pool:', () => {
  it.each([
    ['a page that is not cached', -EAGAIN],
    ['the end of the file', 0],
    ['a broken sector', -5],
  ])('%s', async (_, answer) => {
    let calls = 0;
    const reads = await loaded(() => {
      calls += 1;
      return answer;
    });
    for (let read = 0; read < 3; read++) expect(reads.read(0, block(), 0)).toBeNull();
    expect(calls).toBe(3);
  });

  it('a filesystem that cannot is not asked again', async () => {
    let calls = 0;
    const reads = await loaded(() => {
      calls += 1;
      return -EOPNOTSUPP;
    });
    for (let read = 0; read < 3; read++) expect(reads.read(0, block(), 0)).toBeNull();
    expect(calls).toBe(1);
  });

  it('large reads, and those of many buffers', async () => {
    const reads = await loaded(all);
    expect(reads.read(0, [new Uint8Array(1024 * 1024)], 0)).toBeNull();
    expect(
      reads.read(
        0,
        Array.from({ length: 16 }, () => new Uint8Array(512)),
        0,
      ),
    ).toBeNull();
    expect(reads.read(0, [new Uint8Array(512), new Uint8Array(1024)], 0)).toBe(1536);
  });
});

it('a part is a part: the rest is asked for by whoever reads', async () => {
  const reads = await loaded(() => 512);
  expect(reads.read(0, block(), 0)).toBe(512);
});

it('who reads without end lets others have their turn', async () => {
  const reads = await loaded(all);
  let inOneTurn = 0;
  while (reads.read(0, block(), 0) !== null) {
    inOneTurn += 1;
    expect(inOneTurn).toBeLessThan(1000);
    await Promise.resolve();
  }
  expect(inOneTurn).toBeGreaterThan(0);
  await new Promise((resolve) => setImmediate(resolve));
  expect(reads.read(0, block(), 0)).toBe(4096);
});

it('what this kernel reads so is what lies in the file', async () => {
  await withSeed(async (random) => {
    const path = join(await temporaryFolder(), 'image');
    const content = random.bytes(1024 * 1024);
    await writeFile(path, content);
    const file = await open(path);
    const reads = new PromptReads();
    let cached = 0;
    for (let read = 0; read < 2000; read++) {
      const position = random.below(content.length - 8192);
      const buffers = [new Uint8Array(random.below(4096)), new Uint8Array(random.below(4096) + 1)];
      const bytes = reads.read(file.fd, buffers, position);
      if (bytes === null) await new Promise((resolve) => setImmediate(resolve));
      else {
        cached += 1;
        const found = Buffer.concat(buffers).subarray(0, bytes);
        expect(Buffer.compare(found, content.subarray(position, position + bytes))).toBe(0);
      }
    }
    await file.close();
    if (cached === 0) console.log('checked nothing: preadv2 with RWF_NOWAIT does not work here');
  });
});
