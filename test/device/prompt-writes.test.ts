/** Writes that stay on the thread: what they hand on, and what one that was slow does to the others. */
import { open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { PromptWrites } from '../../src/device/prompt-writes.js';
import { withSeed } from '../support/devices/seeded-random.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const block = () => [new Uint8Array(4096)];
const nextTurn = () => new Promise((resolve) => setImmediate(resolve));

/** A system whose writes take as long as told, by a clock that nothing else moves. */
function timed() {
  const clock = { nowMs: 0, takesMs: 0, calls: 0 };
  const writes = new PromptWrites({
    nowMs: () => clock.nowMs,
    writeNow: (_, buffers) => {
      clock.calls += 1;
      clock.nowMs += clock.takesMs;
      return buffers.reduce((sum, buffer) => sum + buffer.byteLength, 0);
    },
  });
  return { clock, writes };
}

describe('left to the thread pool are', () => {
  it('long writes, and those of many buffers', () => {
    const { clock, writes } = timed();
    expect(writes.write(0, [new Uint8Array(128 * 1024)], 0)).toBeNull();
    const many = Array.from({ length: 16 }, () => new Uint8Array(512));
    expect(writes.write(0, many, 0)).toBeNull();
    expect(clock.calls).toBe(0);
    expect(writes.write(0, [new Uint8Array(512), new Uint8Array(1024)], 0)).toBe(1536);
  });

  it('those that would keep others from their turn', async () => {
    const { writes } = timed();
    let inOneTurn = 0;
    while (writes.write(0, block(), 0) !== null) {
      inOneTurn += 1;
      expect(inOneTurn).toBeLessThan(1000);
      await Promise.resolve();
    }
    expect(inOneTurn).toBeGreaterThan(0);
    await nextTurn();
    expect(writes.write(0, block(), 0)).toBe(4096);
  });

  it('all for a while, after one that was slow: longer each time, until many were prompt', async () => {
    const { clock, writes } = timed();
    /** How long none is tried after one that was slow, in ms. */
    const restOf = async () => {
      clock.takesMs = 20;
      await nextTurn();
      expect(writes.write(0, block(), 0)).toBe(4096);
      clock.takesMs = 0;
      const from = clock.nowMs;
      while (writes.write(0, block(), 0) === null) clock.nowMs += 1;
      return clock.nowMs - from;
    };
    const rests = [await restOf(), await restOf(), await restOf()];
    expect(rests).toEqual([250, 500, 1000]);
    for (let round = 0; round < 20; round++) expect(await restOf()).toBeLessThanOrEqual(16_000);
    for (let prompt = 0; prompt < 1100; prompt++) {
      if (writes.write(0, block(), 0) === null) await nextTurn();
    }
    expect(await restOf()).toBe(250);
  });
});

it('what the system says is thrown as it is', () => {
  const refused = Object.assign(new Error('no space'), { code: 'ENOSPC' });
  const writes = new PromptWrites({
    writeNow: () => {
      throw refused;
    },
  });
  expect(() => writes.write(0, block(), 0)).toThrow(refused);
});

it('what this system writes so is what lies in the file', async () => {
  await withSeed(async (random) => {
    const path = join(await temporaryFolder(), 'image');
    const file = await open(path, 'w+');
    const content = Buffer.alloc(256 * 1024);
    const writes = new PromptWrites();
    for (let write = 0; write < 500; write++) {
      const buffers = [random.bytes(random.between(1, 4096)), random.bytes(random.between(0, 512))];
      const data = Buffer.concat(buffers);
      const position = random.below(content.length - data.length);
      const bytes = writes.write(file.fd, random.chance(0.5) ? buffers : [data], position);
      if (bytes === null) await nextTurn();
      else data.copy(content, position, 0, bytes);
    }
    await file.close();
    const found = await readFile(path);
    expect(Buffer.compare(found, content.subarray(0, found.length))).toBe(0);
  });
});
