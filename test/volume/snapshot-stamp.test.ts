/** What tells whether somebody else has written to a volume: each way in which it may be found, after a clean end and after a crash. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ClaimingDevice } from '../../src/device/claiming-device.js';
import { MemoryDevice } from '../../src/device/memory.js';
import type { Located } from '../../src/volume/locate.js';
import {
  type StampSource,
  stampOfImage,
  type VolumeStamp,
  whyVoid,
} from '../../src/volume/snapshots/stamp.js';
import { VolumeSnapshots } from '../../src/volume/snapshots/volume-snapshots.js';
import { gated } from '../../src/volume/stack.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const TAG = '15aa0de5';
const ARRAY = { kind: 'raid', uuid: 'u', events: '7', opening: '0123456789abcdef' } as const;
const IMAGE = { kind: 'image', file: '12-34', sizeBytes: 4096, changedNs: '99' } as const;

function isVoid(stamp: VolumeStamp, found: VolumeStamp, isOpen: boolean): boolean {
  return whyVoid({ stamp, openingTag: TAG, isOpen }, found) !== null;
}

describe('an array', () => {
  it.each([
    ['as it was left', {}, false, false],
    ['with more events, and the same opening', { events: '8' }, true, false],
    ['with fewer events', { events: '6' }, true, true],
    ['without a stamp, and more events', { opening: '0'.repeat(16), events: '9' }, true, true],
    ['without a stamp, and the events of then', { opening: '0'.repeat(16) }, true, true],
    ['with a stamp of the opening that was cut', { opening: `${TAG}00000001`, events: '9' }, true, false],
    ['with such a stamp and fewer events', { opening: `${TAG}00000001`, events: '6' }, true, true],
    ['with a stamp of nobody that is known', { opening: '00aa0de515aa0de5', events: '9' }, true, true],
    ['of another identity', { uuid: 'v' }, true, true],
  ] as const)('%s', (_, change, whenClosed, whenOpen) => {
    expect(isVoid(ARRAY, { ...ARRAY, ...change }, false)).toBe(whenClosed);
    expect(isVoid(ARRAY, { ...ARRAY, ...change }, true)).toBe(whenOpen);
  });

  it('of which the list was made while it had no stamp is believed in nothing: md leaves events as they were', () => {
    const bare = { ...ARRAY, opening: '0'.repeat(16) };
    for (const isOpen of [false, true]) expect(isVoid(bare, bare, isOpen)).toBe(true);
  });
});

describe('an image', () => {
  it.each([
    ['as it was left', {}, false, false],
    ['changed since', { changedNs: '100' }, true, false],
    ['of another size', { sizeBytes: 8192 }, true, true],
    ['that is another file, with its time', { file: '13-34' }, false, true],
    ['that is a block device', { file: null, changedNs: null }, true, true],
  ] as const)('%s', (_, change, whenClosed, whenOpen) => {
    expect(isVoid(IMAGE, { ...IMAGE, ...change }, false)).toBe(whenClosed);
    expect(isVoid(IMAGE, { ...IMAGE, ...change }, true)).toBe(whenOpen);
  });

  it('that was a block device then too is believed in nothing', () => {
    const device = { ...IMAGE, file: null, changedNs: null };
    for (const isOpen of [false, true]) expect(isVoid(device, device, isOpen)).toBe(true);
    expect(isVoid(ARRAY, IMAGE, true)).toBe(true);
  });

  it('is told from the one that takes its name', async () => {
    const folder = await temporaryFolder();
    for (const name of ['a', 'b']) await writeFile(join(folder, name), name);
    const [a, b] = [await stampOfImage(join(folder, 'a')), await stampOfImage(join(folder, 'b'))];
    expect(isVoid(a, await stampOfImage(join(folder, 'a')), true)).toBe(false);
    expect(isVoid(a, b, true)).toBe(true);
    expect(await stampOfImage('/dev/null')).toMatchObject({ changedNs: null });
  });
});

describe('a list', () => {
  const tagged: number[] = [];
  function source(stamps: VolumeStamp[]): StampSource {
    return {
      read: async () => stamps[0]!,
      tag: (tag) => tagged.push(tag),
      leave: async () => void stamps.shift(),
    };
  }
  async function begin(stamps: VolumeStamp[], isDurable: boolean, readOnly = false): Promise<void> {
    const folder = await temporaryFolder();
    const located = { directory: folder, images: [], label: 'v' } as unknown as Located;
    const asked = { source: source(stamps), sizeBytes: 8192, readOnly: false, warn: () => {} };
    await VolumeSnapshots.during(located, asked, async (snapshots) => {
      const device = new MemoryDevice(8192, { name: 'v' });
      const claims = new ClaimingDevice(device);
      const moments = readOnly ? null : gated(claims).moments;
      await snapshots.open({ label: 'v', device: claims, moments, warn: () => {} });
      await snapshots.begin({ isDurable });
    });
  }

  it('of what outlives the opening is not made on a block device; of what ends with it, it is', async () => {
    const device = { ...IMAGE, file: null, changedNs: null };
    await expect(begin([device], true)).rejects.toMatchObject({ code: 'UNSUPPORTED' });
    await begin([device], false);
  });

  it('is not made before the array has a stamp of ours', async () => {
    const stamps = [{ ...ARRAY, opening: '0'.repeat(16) }, ARRAY];
    await begin(stamps, true);
    expect(stamps).toHaveLength(1);
    const bare = [{ ...ARRAY, opening: '0'.repeat(16) }, ARRAY];
    await expect(begin(bare, true, true)).rejects.toMatchObject({ code: 'UNSUPPORTED' });
    expect(bare).toHaveLength(2);
    expect(tagged.every((tag) => tag > 0 && tag < 2 ** 32)).toBe(true);
    await expect(
      begin([{ ...ARRAY, opening: '0'.repeat(16) }, stamps[0]!].slice(0, 1), true),
    ).rejects.toThrow();
  });
});
