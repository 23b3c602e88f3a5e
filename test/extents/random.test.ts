/**
 * Random use of a file against a plain model, with crashes: what is found afterwards is the last commit point that was
 * acknowledged, or a later one that was under way (data journaling, paragraphs 48 to 50; crash model, invariant 4).
 */
import { describe, expect, it } from 'vitest';
import type { BlockDevice } from '../../src/device/contract.js';
import type { ExtentFile, ExtentStore } from '../../src/extents/index.js';
import { isNoSpace } from '../../src/extents/journal-reserve.js';
import { FaultyDevice } from '../support/devices/faulty-device.js';
import { type SeededRandom, withSeed } from '../support/devices/seeded-random.js';
import { contentOf, Stage, type StageOptions } from './support/stage.js';

const LONGEST_BYTES = 40_000;

class Model {
  current: Uint8Array = new Uint8Array(0);
  committed: Uint8Array = new Uint8Array(0);
  /** What it was after each change since: any of them may have been committed early. */
  since: Uint8Array[] = [];
  /** What is not committed was kept, and not changed since. */
  isKept = false;

  changed(): void {
    this.since.push(this.current.slice());
  }

  isOneSince(found: Uint8Array): boolean {
    return this.since.some((one) => Buffer.compare(one, found) === 0);
  }

  write(offset: number, bytes: Uint8Array): void {
    if (offset + bytes.length > this.current.length) this.resize(offset + bytes.length);
    this.current.set(bytes, offset);
  }

  resize(size: number): void {
    const next = new Uint8Array(size);
    next.set(this.current.subarray(0, size));
    this.current = next;
  }

  commit(): void {
    this.committed = this.current.slice();
    this.since = [];
    this.isKept = false;
  }
}

function expectSame(found: Uint8Array, wanted: Uint8Array, what: string): void {
  if (Buffer.compare(found, wanted) === 0) return;
  const at = wanted.findIndex((byte, i) => found[i] !== byte);
  expect.fail(
    `${what}: ${found.length} bytes, ${wanted.length} wanted; differs at ${at}: ${found[at]}, not ${wanted[at]}`,
  );
}

class Use {
  readonly model = new Model();
  store!: ExtentStore;
  file!: ExtentFile;

  private constructor(
    readonly stage: Stage,
    readonly random: SeededRandom,
    /** Device calls in flight that met: the contract of devices forbids it. */
    readonly overlaps: readonly string[][],
  ) {}

  static async begin(random: SeededRandom, options: StageOptions): Promise<Use> {
    const overlaps: string[][] = [];
    const wrap = (device: BlockDevice) => {
      const faulty = new FaultyDevice(device, { seed: random.below(1000) });
      if (options === FAILING) faulty.addRule({ operations: ['write'], probability: 0.03 });
      overlaps.push(faulty.overlaps);
      return faulty;
    };
    const use = new Use(await Stage.make({ seed: random.below(1000), wrap, ...options }), random, overlaps);
    use.store = await use.stage.open();
    await use.store.files.create('disk', { sizeBytes: 0 });
    use.file = await use.store.openFile('disk', { access: 'write' });
    return use;
  }

  async step(): Promise<void> {
    const { random, model, file } = this;
    const kind = random.below(40);
    const size = model.current.length;
    if (kind < 24) model.isKept = false;
    if (kind < 18) {
      const bytes = random.bytes(random.between(1, random.chance(0.3) ? LONGEST_BYTES : 700));
      const offset = random.below(Math.min(size + 600, 60_000) + 1);
      model.write(offset, bytes);
      await file.write(offset, [bytes.subarray(0, 3), bytes.subarray(3)]);
    } else if (kind < 22 && size > 0) {
      const offset = random.below(size);
      const length = random.between(1, size - offset);
      model.current.fill(0, offset, offset + length);
      await file.clear(offset, length);
    } else if (kind < 24) {
      const target = random.below(70_000);
      model.resize(target);
      await file.resize(target);
    } else if (kind < 30) {
      await file.commit();
      model.commit();
    } else if (kind < 31) {
      await this.#cleanlyAgain();
    } else if (kind < 32) {
      await file.discard();
      model.isKept = false;
      await this.#isAtCommitPoint(false, 'discarded');
    } else if (kind < 34) {
      await this.#crash();
    } else if (kind < 35) {
      await this.#keepAndCrash();
    } else if (kind < 36 && size > 0) {
      await this.#atOnce();
    } else {
      expectSame(await contentOf(file), model.current, 'content');
    }
    model.changed();
  }

  /** Writes side by side, and a commit among them. */
  async #atOnce(): Promise<void> {
    const { random, model, file } = this;
    const lanes = 8;
    const lane = Math.floor(model.current.length / lanes);
    if (lane === 0) return;
    model.isKept = false;
    const calls: Promise<unknown>[] = [];
    for (let at = 0; at < lanes; at++) {
      const offset = at * lane + random.below(lane);
      const bytes = random.bytes(random.between(1, lane - (offset - at * lane)));
      model.write(offset, bytes);
      calls.push(file.write(offset, bytes));
      if (at === 4) calls.push(file.commit());
    }
    await Promise.all(calls);
    await file.commit();
    model.commit();
  }

  async #cleanlyAgain(): Promise<void> {
    await this.file.close();
    await this.store.close();
    expect(await this.stage.findings()).toEqual([]);
    await this.#open();
    await this.#isAtCommitPoint(false, 'reopened');
  }

  async #crash(): Promise<void> {
    const { random, stage } = this;
    const wasUnderWay = random.chance(0.5);
    // It may be hardened when the power goes, or not.
    const commit = wasUnderWay ? this.file.commit().catch(() => {}) : null;
    if (commit !== null) for (let n = random.below(12); n > 0; n--) await new Promise((r) => setImmediate(r));
    await stage.crash(random.below(1000), random.chance(0.3) ? 'kill' : 'random');
    await commit;
    await this.#open();
    await this.#isAtCommitPoint(wasUnderWay, 'after a crash');
  }

  async #isAtCommitPoint(wasUnderWay: boolean, what: string): Promise<void> {
    const { model, stage } = this;
    const found = await contentOf(this.file);
    if (model.isKept && !wasUnderWay) {
      expectSame(found, model.current, what);
      return;
    }
    const isLater = wasUnderWay && Buffer.compare(found, model.current) === 0;
    const isEarly = stage.options.extents !== undefined && model.isOneSince(found);
    if (!isLater && !isEarly) expectSame(found, model.committed, what);
    // What was kept comes back as it was, whether its commit was hardened or not: from here on it is.
    if (model.isKept) await this.file.commit();
    model.current = found;
    model.commit();
  }

  async #keepAndCrash(): Promise<void> {
    try {
      await this.file.keep();
    } catch (error) {
      // What is cleared needs an extent to be kept with: it is refused where there is none, and all is as it was.
      if (!isNoSpace(error)) throw error;
      return;
    }
    this.model.isKept = true;
    await this.stage.crash(this.random.below(1000));
    await this.#again('kept');
  }

  async #again(what: string): Promise<void> {
    await this.#open();
    expectSame(await contentOf(this.file), this.model.current, what);
  }

  async #open(): Promise<void> {
    this.store = await this.stage.open();
    this.file = await this.store.openFile('disk', { access: 'write' });
  }

  async end(): Promise<void> {
    expectSame(await contentOf(this.file), this.model.current, 'at the end');
    await this.file.commit();
    await this.store.settled();
    expectSame(await contentOf(this.file), this.model.current, 'complete');
    await this.file.close();
    await this.store.close();
    expect(await this.stage.findings()).toEqual([]);
    if (this.stage.options.store !== FAILING.store) expect(this.stage.warnings).toEqual([]);
    expect(this.overlaps.flat()).toEqual([]);
  }
}

/**
 * Writes fail now and then: journal extents are moved (paragraph 51), completion tries again. Time passes at
 * once, so that buffers are old all the time.
 */
const FAILING: StageOptions = {
  maxDelayTurns: 2,
  store: {
    waitForTargetMs: 1_000_000,
    clock: { nowMs: () => 0, wait: () => new Promise((resolve) => void setImmediate(resolve)) },
  },
};

const SETTINGS: readonly (readonly [string, StageOptions])[] = [
  ['buffers, one target', {}],
  ['no buffers, associated at once', { store: { writeBehindBytes: 0, associates: 'at-once' } }],
  ['a separate journal target', { splitAt: 20, store: { journalShares: false } }],
  ['little room in the pool', { extents: 40, store: { writeBehindBytes: 4096 } }],
  ['late answers, no buffers', { maxDelayTurns: 3, store: { writeBehindBytes: 0 } }],
  ['targets that fail now and then', FAILING],
  ['late answers', { maxDelayTurns: 3, store: { writeBehindBytes: 8192 } }],
];

describe('a file does what a plain buffer does, and after a crash is at a commit point', () => {
  it.each(SETTINGS)('%s', (_, options) =>
    withSeed(async (random) => {
      for (let round = 0; round < 6; round++) {
        const use = await Use.begin(random, options);
        for (let step = 0; step < 60; step++) await use.step();
        await use.end();
      }
    }),
  );
});
