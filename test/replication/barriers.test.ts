/**
 * Each barrier of replication is taken out in turn, and a search over random cuts must then find that a block differs which
 * nothing names, or that the secondary says that it is a moment of the primary and is none. A barrier whose loss nothing shows
 * is a hole in these tests, or is not needed. The same search with all of them finds nothing.
 */
import { describe, expect, it } from 'vitest';
import { BLOCK_BYTES } from '../../src/replication/blocks.js';
import { SeededRandom, withSeed } from '../support/devices/seeded-random.js';
import { turns, until } from './support/parts.js';
import { contentOf, type Plants, ReplicationStage, type StageOptions } from './support/stage.js';

/** The rarest harm shows in one search of ten: that this many miss it is less than one chance in 10^8. */
const MOST_SEARCHES = 250;
/** Of each scenario, with all barriers. */
const SEARCHES_WITHOUT_PLANT = 12;
const BLOCKS = 12;

type Scenario = (stage: ReplicationStage, random: SeededRandom) => Promise<void>;

const write = (stage: ReplicationStage, random: SeededRandom, block = random.below(BLOCKS)) =>
  stage.device.write(block * BLOCK_BYTES, random.bytes(BLOCK_BYTES)).catch(() => {});

async function writes(stage: ReplicationStage, random: SeededRandom, count: number): Promise<void> {
  const order = Array.from({ length: BLOCKS }, (_, block) => block).sort(() => random.below(2) - 0.5);
  await Promise.all(order.slice(0, count).map((block) => write(stage, random, block)));
}

/** Its map is on disk, and the log is not used for it any more. */
async function lose(stage: ReplicationStage, random: SeededRandom): Promise<void> {
  stage.disconnect();
  await write(stage, random);
  await until('it is lost', () => stage.replica.state === 'unsynchronized');
  await Promise.all([...stage.replication.tracker.secondaries].map(({ losing }) => losing));
}

/** Used until the power goes, at any moment. */
const inSync: Scenario = async (stage, random) => {
  await stage.inSync();
  const using = (async () => {
    for (let round = 0; round < 4; round++) {
      await writes(stage, random, random.between(1, 6));
      if (random.chance(0.3)) await stage.device.flush().catch(() => {});
      // What is acknowledged is said to be DONE with the next write.
      if (random.chance(0.8)) await stage.replica.drained().catch(() => {});
    }
  })();
  await turns(random.below(150));
  await stage.crashPrimary(random.below(1000));
  await using;
};

/** What the secondary has answered, and not flushed, goes; the primary stays, or is closed. */
const secondaryFails: Scenario = async (stage, random) => {
  await stage.inSync();
  for (let round = 0; round < 3; round++) {
    await writes(stage, random, random.between(2, 8));
    await stage.device.flush();
    await stage.replica.drained();
  }
  await stage.crashSecondary(random.below(1000));
  await stage.crashPrimary(1, 'all');
};

const away: Scenario = async (stage, random) => {
  await stage.inSync();
  stage.disconnect();
  await write(stage, random);
  await turns(20);
  const using = writes(stage, random, random.between(1, 8));
  await turns(random.below(12));
  await stage.crashPrimary(random.below(1000));
  await using;
};

/** Written while it was away; then the power of the secondary goes amid the resync, or behind it. */
const resyncOfSecondary: Scenario = async (stage, random) => {
  await stage.inSync();
  await lose(stage, random);
  await writes(stage, random, random.between(4, BLOCKS));
  await stage.device.flush();
  stage.isReachable = true;
  await turns(random.below(120));
  await stage.crashSecondary(random.below(1000));
  await stage.crashPrimary(1, 'all');
};

/** The power of the primary goes when it is over, and nobody has flushed it. */
const resyncOfPrimary: Scenario = async (stage, random) => {
  await stage.inSync();
  await lose(stage, random);
  await writes(stage, random, random.between(4, BLOCKS));
  stage.isReachable = true;
  await until('it is in sync', () => stage.replica.state === 'in-sync');
  await turns(random.below(10));
  await stage.crashPrimary(random.below(1000));
};

/** As soon as so much is copied. */
const amidResync: Scenario = async (stage, random) => {
  await stage.inSync();
  await lose(stage, random);
  await writes(stage, random, BLOCKS);
  await stage.device.flush();
  stage.isReachable = true;
  const copied = random.between(2, 6);
  await until('it is copied', () => (stage.replica.resync?.copiedBlocks ?? 0) >= copied);
  await stage.crashSecondary(random.below(1000));
  await stage.crashPrimary(1, 'all');
};

interface Barrier {
  readonly name: string;
  readonly scenario: Scenario;
  readonly plant: Plants;
}

const BARRIERS: readonly Barrier[] = [
  {
    name: "the log's write is durable before the data",
    scenario: inSync,
    plant: { keepsBarrier: { log: () => false } },
  },
  {
    name: "the map's write is durable before the data",
    scenario: away,
    plant: { keepsBarrier: { map: () => false } },
  },
  {
    name: 'RESET waits for the flush of the primary',
    scenario: inSync,
    plant: { primaryIsDurable: true },
  },
  {
    name: 'DELETE waits for the flush of the secondary',
    scenario: secondaryFails,
    plant: { keepsBarrier: { secondary: () => false } },
  },
  {
    name: 'a sweep is settled after a flush of the secondary',
    scenario: resyncOfSecondary,
    plant: { keepsBarrier: { secondary: () => false } },
  },
  {
    name: 'a sweep is settled after a flush of the primary',
    scenario: resyncOfPrimary,
    plant: { settlesWithoutPrimary: true },
  },
  {
    name: 'the secondary is told that it is whole when it is',
    scenario: resyncOfSecondary,
    plant: { isWholeAtOnce: true },
  },
  {
    name: 'bits of a sweep leave the disk when what it copied is flushed',
    scenario: amidResync,
    plant: { releasesEarly: true },
  },
];

/** A block that differs and is not named; or what the secondary says of itself and is not so. null: none. */
async function harm(scenario: Scenario, seed: number, plants: Plants): Promise<string | null> {
  const random = new SeededRandom(seed);
  const options: StageOptions = {
    ...{ blocks: BLOCKS, logSectors: 64, maxDelayTurns: 3, seed: random.below(1000), plants },
    settings: { sweep: { pieceBytes: BLOCK_BYTES, inFlight: 2, settleBytes: 6 * BLOCK_BYTES } },
  };
  const stage = await ReplicationStage.make(options);
  await stage.open();
  await scenario(stage, random);
  const [a, b] = await Promise.all([contentOf(stage.primary), contentOf(stage.secondary)]);
  await stage.open({ starts: false });
  const { map } = [...stage.replication.tracker.secondaries][0]!;
  const missed = (await stage.differing()).filter((block) => !map.has(block));
  await stage.replication.close();
  if (missed.length > 0) return `blocks ${missed.join(', ')} differ and are not dirty`;
  // It was blank, and what the primary has is what the sweep copies: there is no other moment.
  const isMoment = b.equals(a) || b.every((byte) => byte === 0);
  if (scenario === resyncOfSecondary && stage.isWhole && !isMoment) return 'it is no moment of the primary';
  return null;
}

describe('a cut does harm only without this barrier:', () => {
  it.each(BARRIERS)('$name', async ({ scenario, plant }) => {
    await withSeed(async (random) => {
      for (let search = 1; search <= MOST_SEARCHES; search++) {
        const seed = random.below(2 ** 32);
        if ((await harm(scenario, seed, plant)) === null) continue;
        // With it, the same cut of the same writes does none.
        expect(await harm(scenario, seed, {}), `seed ${seed}`).toBeNull();
        return;
      }
      throw new Error(`${MOST_SEARCHES} searches without it found no harm`);
    });
  });

  it.each(BARRIERS)('and with all of them none ($name)', async ({ scenario }) => {
    await withSeed(async (random) => {
      for (let search = 0; search < SEARCHES_WITHOUT_PLANT; search++) {
        const seed = random.below(2 ** 32);
        expect(await harm(scenario, seed, {}), `seed ${seed}`).toBeNull();
      }
    });
  });
});
