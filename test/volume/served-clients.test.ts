/**
 * Several clients on two files of a volume at once, and the server is killed amid their writes: of each file a commit
 * point is left. So each client finds what it had flushed or something later, and no write without those that were
 * answered before it.
 */
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { NbdDevice } from '../../src/nbd/client/nbd-device.js';
import { type SeededRandom, withSeed } from '../support/devices/seeded-random.js';
import { runHoldfast, runJson } from '../support/run-holdfast.js';
import { serve } from '../support/served.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const KIB = 1024;
const FILES = ['first', 'second'] as const;
const CLIENTS_A_FILE = 3;
/** A client writes the number of its round into each of these, one after another. */
const PLACES = 8;
const PLACE_BYTES = 12 * KIB;

/** Where its places lie among those of others: they share extents. */
const offsetOf = (client: number, place: number) => (place * CLIENTS_A_FILE + client) * PLACE_BYTES;

class Client {
  /** Rounds. */
  flushed = 0;
  begun = 0;

  constructor(
    readonly file: string,
    readonly number: number,
    readonly disk: NbdDevice,
    private readonly random: SeededRandom,
  ) {}

  /** Until its server is gone. */
  async run(): Promise<void> {
    for (let round = 1; ; round++) {
      this.begun = round;
      for (let place = 0; place < PLACES; place++) {
        const isDurable = this.random.chance(0.1);
        await this.disk.write(offsetOf(this.number, place), block(round), { fua: isDurable });
      }
      if (!this.random.chance(0.5)) continue;
      await this.disk.flush();
      this.flushed = round;
    }
  }

  check(content: Buffer): void {
    const rounds = Array.from({ length: PLACES }, (_, place) => {
      const bytes = content.subarray(
        offsetOf(this.number, place),
        offsetOf(this.number, place) + PLACE_BYTES,
      );
      const round = bytes.readUInt32LE(0);
      expect(bytes.equals(block(round))).toBe(true);
      return round;
    });
    const [first, last] = [rounds[0]!, rounds[PLACES - 1]!];
    expect(last).toBeGreaterThanOrEqual(this.flushed);
    expect(first).toBeLessThanOrEqual(this.begun);
    // One round, and of the next one the places up to somewhere.
    expect(first - last).toBeLessThanOrEqual(1);
    expect(rounds).toEqual(rounds.toSorted((a, b) => b - a));
  }
}

function block(round: number): Buffer {
  const bytes = Buffer.alloc(PLACE_BYTES);
  for (let at = 0; at < PLACE_BYTES; at += 4) bytes.writeUInt32LE(round, at);
  return bytes;
}

it('leaves a commit point of each file when the server is killed', { timeout: 120_000 }, () =>
  withSeed(async (random) => {
    const folder = await temporaryFolder();
    const volume = join(folder, 'v');
    const create = ['create', volume, '--format', 'extents', '--members', '3', '--size', '24MiB'];
    expect((await runHoldfast(create)).exitCode).toBe(0);
    for (const name of FILES) await runHoldfast(['file', 'create', volume, name, '--size', '1MiB']);
    const served = await serve(folder, volume);
    const clients: Client[] = [];
    for (const file of FILES) {
      for (let number = 0; number < CLIENTS_A_FILE; number++) {
        const uri = served.uri.replace('///?', `///${file}?`);
        const disk = await NbdDevice.open(uri, { readOnly: false, reconnect: { tries: 0 } });
        clients.push(new Client(file, number, disk, random.fork()));
      }
    }
    const ends = Promise.allSettled(clients.map((client) => client.run()));
    const least = random.between(3, 12);
    await expect
      .poll(() => Math.min(...clients.map(({ flushed }) => flushed)), { timeout: 60_000 })
      .toBeGreaterThan(least);
    expect((await served.stop('SIGKILL')).exitCode).toBe(128 + 9);
    for (const end of await ends)
      expect(end).toMatchObject({ status: 'rejected', reason: { code: 'IO_ERROR' } });
    for (const { disk } of clients) await disk.close().catch(() => undefined);
    expect((await runJson(['recover', volume])).json).toMatchObject({ exitCode: 0 });
    for (const name of FILES) {
      const { stdoutBytes } = await runHoldfast(['file', 'read', volume, name]);
      for (const client of clients.filter(({ file }) => file === name)) client.check(stdoutBytes);
    }
    expect((await runJson(['fsck', volume, '-n'])).json).toMatchObject({
      exitCode: 0,
      result: { findings: [] },
    });
  }),
);
