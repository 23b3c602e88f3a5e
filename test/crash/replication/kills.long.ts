/**
 * A primary and its secondary, each a server of its own, killed again and again while the volume is written: what differs then,
 * block by block, is what map and log on disk name; what the secondary holds is a moment of the primary; and resync makes both alike.
 * HOLDFAST_KILLS says how many rounds, of two kills or more each; HOLDFAST_SEED gives the choices again (not the moments).
 */
import { randomBytes } from 'node:crypto';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { expect, it, onTestFinished } from 'vitest';
import { NbdDevice } from '../../../src/nbd/client/nbd-device.js';
import { readTracked } from '../../../src/volume/replication/on-disk.js';
import { PrimaryPlaces } from '../../../src/volume/replication/places.js';
import { openPlace } from '../../../src/volume/replication/secondary/image-place.js';
import { type SeededRandom, withSeed } from '../../support/devices/seeded-random.js';
import { ok } from '../../support/run-holdfast.js';
import { type Served, serve } from '../../support/served.js';
import { temporaryFolder } from '../../support/temporary-folder.js';

const ROUNDS = Number(process.env.HOLDFAST_KILLS ?? 150);
const BLOCK_BYTES = 4096;
const BLOCKS = 4096;
const SIZE_BYTES = BLOCKS * BLOCK_BYTES;
/** In the last blocks, a number each that goes up: all up to some number are a moment. */
const SLOTS = 64;
const FIRST_SLOT = BLOCKS - SLOTS;
const ROUNDS_BETWEEN_RESYNCS = 5;

class Pair {
  readonly counts = { primary: 0, secondary: 0, differing: 0, dirty: 0, moments: 0 };
  #primary: Served | null = null;
  #secondary: Served | null = null;
  #last = 0;
  /** Numbers that were in flight when a primary was killed. */
  readonly #lost = new Set<number>();

  private constructor(
    private readonly folder: string,
    private readonly random: SeededRandom,
  ) {}

  static async make(random: SeededRandom): Promise<Pair> {
    const pair = new Pair(await temporaryFolder(), random);
    onTestFinished(() => pair.#killAll());
    await mkdir(join(pair.folder, 'elsewhere'));
    await ok('create', pair.#volume, '--members', '1', '--size', String(SIZE_BYTES));
    await pair.#startSecondary();
    await ok('replica', 'add', pair.#volume, '--to', pair.#secondary!.uri);
    await ok('replica', 'sync', pair.#volume);
    return pair;
  }

  get #volume(): string {
    return join(this.folder, 'v');
  }

  get #second(): string {
    return join(this.folder, 'elsewhere', 'second.img');
  }

  async round(): Promise<void> {
    const { random } = this;
    if (this.#secondary === null && random.chance(0.8)) await this.#startSecondary();
    this.#primary = await serve(this.folder, this.#volume);
    const client = await NbdDevice.open(this.#primary.uri, { readOnly: false, reconnect: { tries: 0 } });
    const writing = Promise.all([
      this.#number(client),
      ...Array.from({ length: 6 }, () => this.#load(client)),
    ]);
    for (let event = random.below(3); event > 0; event--) {
      await this.#moment();
      if (this.#secondary === null) await this.#startSecondary();
      else await this.#kill('secondary');
    }
    await this.#moment();
    const sides = ['primary', 'secondary'] as const;
    for (const side of random.chance(0.5) ? sides : [...sides].reverse()) {
      await this.#kill(side);
      if (random.chance(0.5)) await this.#moment();
    }
    await writing;
    await client.close().catch(() => {});
    await this.#look();
  }

  /** What differs is copied, and both are alike. */
  async resync(): Promise<void> {
    await this.#startSecondary();
    const { copiedBlocks } = (await ok('replica', 'sync', this.#volume)) as { copiedBlocks: number };
    expect(copiedBlocks).toBeLessThanOrEqual(BLOCKS);
    expect(await ok('replica', 'verify', this.#volume)).toMatchObject({ differingBlocks: 0 });
    await this.#kill('secondary');
    const secondary = await this.#secondContent();
    expect(secondary.equals(await readFile(join(this.#volume, 'disk.img')))).toBe(true);
  }

  async #startSecondary(): Promise<void> {
    const flags = ['--secondary', '--size', String(SIZE_BYTES)];
    this.#secondary = await serve(join(this.folder, 'elsewhere'), this.#second, flags);
  }

  async #kill(side: 'primary' | 'secondary'): Promise<void> {
    const served = side === 'primary' ? this.#primary : this.#secondary;
    if (served === null) return;
    if (side === 'primary') this.#primary = null;
    else this.#secondary = null;
    await served.stop('SIGKILL');
    this.counts[side] += 1;
  }

  async #killAll(): Promise<void> {
    await this.#kill('primary');
    await this.#kill('secondary');
  }

  /** Any moment of what runs meanwhile. */
  async #moment(): Promise<void> {
    await setTimeout(this.random.below(this.random.chance(0.3) ? 1500 : 300));
  }

  /** Until its server is gone. */
  async #load(client: NbdDevice): Promise<void> {
    const { random } = this;
    try {
      for (;;) {
        const count = random.between(1, 16);
        const offset = random.below(FIRST_SLOT - count) * BLOCK_BYTES;
        const length = count * BLOCK_BYTES;
        const kind = random.below(20);
        if (kind === 0) await client.trim(offset, length);
        else if (kind === 1) await client.writeZeroes(offset, length);
        else await client.write(offset + 512 * random.below(8), randomBytes(length), { fua: kind === 2 });
      }
    } catch {
      // It was killed: that is what is wanted.
    }
  }

  /** One after another, each durable before the next. */
  async #number(client: NbdDevice): Promise<void> {
    try {
      for (;;) {
        this.#last += 1;
        const n = this.#last;
        const bytes = Buffer.alloc(BLOCK_BYTES);
        bytes.writeUInt32BE(n);
        await client.write((FIRST_SLOT + (n % SLOTS)) * BLOCK_BYTES, bytes);
        await client.flush();
      }
    } catch {
      // As above. Whether it reached the disk nobody knows.
      this.#lost.add(this.#last);
    }
  }

  /** Nobody runs: what is on the disks. */
  async #look(): Promise<void> {
    const [primary, secondary] = [
      await readFile(join(this.#volume, 'disk.img')),
      await this.#secondContent(),
    ];
    const { replicas } = await readTracked(new PrimaryPlaces(join(this.#volume, 'replication')));
    const { map, trouble } = replicas.get('replica-1')!;
    expect(trouble).toBeNull();
    const differing = Array.from({ length: BLOCKS }, (_, block) => block).filter(
      (block) => Buffer.compare(blockOf(primary, block), blockOf(secondary, block)) !== 0,
    );
    expect(
      differing.filter((block) => !map!.has(block)),
      'blocks that differ and are named nowhere',
    ).toEqual([]);
    this.counts.differing += differing.length;
    this.counts.dirty += map!.count;
  }

  /** As its own recovery leaves it. */
  async #secondContent(): Promise<Buffer> {
    const place = await openPlace(this.#second);
    try {
      const bytes = Buffer.alloc(SIZE_BYTES);
      await place.device!.read(0, bytes);
      if (place.device!.marks.state === 'consistent') this.#expectMoment(bytes);
      return bytes;
    } finally {
      await place.close();
    }
  }

  #expectMoment(bytes: Buffer): void {
    const found = Array.from({ length: SLOTS }, (_, slot) =>
      blockOf(bytes, FIRST_SLOT + slot).readUInt32BE(),
    );
    const moment = Math.max(...found);
    const broken = found.filter((n, slot) => n > moment || (n !== 0 && n % SLOTS !== slot));
    expect(broken).toEqual([]);
    const behind = found.map((_, slot) => moment - ((moment - slot + SLOTS) % SLOTS));
    const missing = behind.filter((n, slot) => n > 0 && found[slot]! < n && !this.#lost.has(n));
    expect(missing, `missing at ${moment}`).toEqual([]);
    this.counts.moments += 1;
  }
}

function blockOf(bytes: Buffer, block: number): Buffer {
  return bytes.subarray(block * BLOCK_BYTES, (block + 1) * BLOCK_BYTES);
}

it('a primary and its secondary, killed again and again', () =>
  withSeed(async (random) => {
    const pair = await Pair.make(random);
    for (let round = 1; round <= ROUNDS; round++) {
      await pair.round();
      if (round % ROUNDS_BETWEEN_RESYNCS === 0) await pair.resync();
    }
    const { primary, secondary, differing, dirty, moments } = pair.counts;
    console.log(
      `killed: the primary ${primary} times, the secondary ${secondary}; ${differing} blocks differed, ${dirty} were dirty; ${moments} moments`,
    );
    expect(differing).toBeGreaterThan(0);
  }));
