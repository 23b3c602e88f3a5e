/**
 * A server that is killed with SIGKILL while fio and a client of our own write to its volume: after `recover` all that was
 * flushed is there, and parity is right. What the server held in its own memory is gone with it.
 *
 *   first third    fio wrote it and flushed; fio itself verifies it afterwards (crc32c of every block)
 *   second third   fio is amid writing it
 *   last third     our client, which knows what was flushed: each sector must be as new as that, or newer
 */
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { NbdDevice } from '../../src/nbd/client/nbd-device.js';
import { fioSpeaksNbd, isInstalled } from '../nbd/client/servers.js';
import { type SeededRandom, withSeed } from '../support/devices/seeded-random.js';
import { runHoldfast, runJson } from '../support/run-holdfast.js';
import { serve } from '../support/served.js';
import { temporaryFolder } from '../support/temporary-folder.js';
import { statusOf } from '../support/volumes.js';

const MIB = 1024 * 1024;
const THIRD = 32 * MIB;
const BLOCK = 4096;

interface FioReport {
  readonly exitCode: number;
  readonly error: number;
  readonly reads: number;
  readonly writes: number;
}

/** Runs a job over the part of the disk that begins at `offset`. */
async function fio(
  folder: string,
  uri: string,
  offset: number,
  flags: readonly string[],
): Promise<FioReport> {
  const output = join(folder, `fio-${offset}.json`);
  const job = [`--name=at-${offset}`, '--ioengine=nbd', `--uri=${uri}`, '--rw=randwrite', '--bs=4k'];
  const rules = ['--iodepth=16', '--verify=crc32c', '--verify_fatal=1', '--randseed=7', `--size=${THIRD}`];
  const report = ['--output-format=json', `--output=${output}`, `--offset=${offset}`];
  const ran = promisify(execFile)('fio', [...job, ...rules, ...report, ...flags], { cwd: folder });
  const exitCode = await ran.then(
    () => 0,
    (error: { code?: unknown }) => Number(error.code),
  );
  const text = await readFile(output, 'utf8');
  const { jobs } = JSON.parse(text.slice(text.indexOf('{'))) as {
    jobs: { error: number; read: { total_ios: number }; write: { total_ios: number } }[];
  };
  const [{ error, read, write }] = jobs as [(typeof jobs)[0]];
  return { exitCode, error, reads: read.total_ios, writes: write.total_ios };
}

const SECTOR = 512;
const LANES = 4;
const BLOCKS_A_LANE = 64;

/** Writes blocks of its own anew and anew, with a flush now and then, until its server is gone. */
class Lane {
  /** The newest version of each block that was flushed, and the newest that was begun; 0: zeroes. */
  readonly flushed = new Array<number>(BLOCKS_A_LANE).fill(0);
  readonly begun = new Array<number>(BLOCKS_A_LANE).fill(0);
  flushes = 0;

  constructor(
    private readonly disk: NbdDevice,
    private readonly lane: number,
    private readonly random: SeededRandom,
  ) {}

  async run(): Promise<void> {
    const written = [...this.flushed];
    for (let version = 1; ; version++) {
      const index = this.random.below(BLOCKS_A_LANE);
      this.begun[index] = version;
      await this.disk.write(this.placeOf(index), this.block(index, version));
      written[index] = version;
      if (!this.random.chance(0.1)) continue;
      await this.disk.flush();
      this.flushed.splice(0, BLOCKS_A_LANE, ...written);
      this.flushes += 1;
    }
  }

  /** Throws for a sector that is older than what was flushed, or is none that was ever written. */
  async check(disk: NbdDevice): Promise<void> {
    const found = Buffer.alloc(BLOCK);
    for (let index = 0; index < BLOCKS_A_LANE; index++) {
      await disk.read(this.placeOf(index), found);
      for (let at = 0; at < BLOCK; at += SECTOR)
        this.#checkSector(index, at, found.subarray(at, at + SECTOR));
    }
  }

  /** Lanes lie among each other, so that their blocks share stripes. */
  placeOf(index: number): number {
    return 2 * THIRD + (index * LANES + this.lane) * 3 * BLOCK;
  }

  block(index: number, version: number): Buffer {
    if (version === 0) return Buffer.alloc(BLOCK);
    return Buffer.alloc(BLOCK, `lane ${this.lane}, block ${index}, version ${version}; `.padEnd(64, '.'));
  }

  #checkSector(index: number, at: number, found: Buffer): void {
    for (let version = this.flushed[index]!; version <= this.begun[index]!; version++)
      if (found.equals(this.block(index, version).subarray(at, at + SECTOR))) return;
    const says = found.subarray(0, 64).toString('latin1');
    throw new Error(
      `lane ${this.lane}, block ${index}: version ${this.flushed[index]} was flushed and ${this.begun[index]} begun, but at byte ${at} it says ${JSON.stringify(says)}`,
    );
  }
}

const isPossible = isInstalled('fio') && fioSpeaksNbd();

it.runIf(isPossible)(
  'what was flushed is there after the server was killed amid writes and the volume was recovered',
  { timeout: 180_000 },
  () =>
    withSeed(async (random) => {
      const folder = await temporaryFolder();
      const volume = join(folder, 'v');
      const size = `${(3 * THIRD) / MIB}MiB`;
      expect((await runHoldfast(['create', volume, '--members', '4', '--size', size])).exitCode).toBe(0);
      const served = await serve(folder, volume);
      const filled = await fio(folder, served.uri, 0, ['--do_verify=0', '--end_fsync=1']);
      expect(filled).toMatchObject({ exitCode: 0, error: 0, writes: THIRD / BLOCK });

      const writing = fio(folder, served.uri, THIRD, ['--fsync=32', '--time_based', '--runtime=120']);
      const disk = await NbdDevice.open(served.uri, { readOnly: false, reconnect: { tries: 0 } });
      const lanes = Array.from({ length: LANES }, (_, lane) => new Lane(disk, lane, random.fork()));
      const ends = Promise.allSettled(lanes.map((lane) => lane.run()));
      const least = random.between(20, 60);
      await expect
        .poll(() => Math.min(...lanes.map(({ flushes }) => flushes)), { timeout: 60_000 })
        .toBeGreaterThan(least);
      await expect.poll(() => connectionsTo(volume), { timeout: 60_000 }).toBe(2);
      expect((await served.stop('SIGKILL')).exitCode).toBe(128 + 9);
      // Each was amid its writes, and was told that the server is gone.
      for (const end of await ends)
        expect(end).toMatchObject({ status: 'rejected', reason: { code: 'IO_ERROR' } });
      const cutOff = await writing;
      expect(cutOff.exitCode).not.toBe(0);
      expect(cutOff.writes).toBeGreaterThan(0);
      await disk.close();

      // The record names few stripes, and not all: what is made anew is what was being written.
      const { state, dirtyStripes, raid } = await recordOf(volume);
      expect({ state, verdict: raid.record.verdict }).toEqual({ state: 'dirty', verdict: 'valid' });
      expect(dirtyStripes).toBeGreaterThan(0);
      expect(dirtyStripes).toBeLessThan(raid.memberSizeBytes / raid.chunkBytes);
      expect((await runJson(['recover', volume])).json).toMatchObject({ exitCode: 0 });
      expect(await statusOf(volume)).toMatchObject({ exitCode: 0, state: 'clean', dirtyStripes: 0 });
      expect((await runJson(['scrub', volume])).json).toMatchObject({
        exitCode: 0,
        result: { mismatchCount: 0 },
      });

      const again = await serve(folder, volume);
      const verified = await fio(folder, again.uri, 0, ['--verify_only']);
      expect(verified).toMatchObject({ exitCode: 0, error: 0, reads: THIRD / BLOCK });
      const reader = await NbdDevice.open(again.uri, { readOnly: true });
      for (const lane of lanes) await lane.check(reader);
      await reader.close();
      expect((await again.stop()).exitCode).toBe(0);
    }),
);

async function connectionsTo(volume: string): Promise<number> {
  const { json } = await runJson(['status', volume]);
  const { exports } = json.result!.serving as { exports: { connections: number }[] };
  return exports[0]!.connections;
}

async function recordOf(volume: string) {
  const { json } = await runJson(['status', volume]);
  return json.result as unknown as {
    state: string;
    dirtyStripes: number;
    raid: { record: { verdict: string }; memberSizeBytes: number; chunkBytes: number };
  };
}
