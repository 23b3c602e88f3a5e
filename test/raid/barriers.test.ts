/**
 * Flush mutation (docs/crash-model.md): each barrier of the array is taken out in turn, and a power cut must then
 * break what holds with it. A barrier whose loss nothing shows is a hole in these tests, or is not needed.
 * That all of it holds with the barriers is power-cut.test.ts's.
 */
import { setImmediate } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import type { RaidArray } from '../../src/raid/array.js';
import type { ArrayMetadata } from '../../src/raid/metadata.js';
import type { MetadataFollower } from '../../src/raid/metadata-follower.js';
import { SeededRandom, withSeed } from '../support/devices/seeded-random.js';
import { nothing, unflushedDuring } from '../support/planted-faults.js';
import {
  complete,
  failing,
  type Moment,
  type Mutation,
  memberAway,
  rebuilding,
  type Scenario,
  withBitmap,
  withPpl,
} from '../support/power-cut.js';

/** The rarest harm shows in one cut of fifty: that this many miss it is one chance in 10^8. */
const MAX_ROUNDS = 1000;
const LATE_TURNS = 40;

/** Nobody waits for it, and it comes late. */
function late<A extends unknown[]>(call: (...args: A) => Promise<void>): (...args: A) => Promise<void> {
  return (...args) => {
    const comes = async () => {
      for (let turn = 0; turn < LATE_TURNS; turn++) await setImmediate();
      await call(...args);
    };
    comes().catch(() => undefined);
    return nothing();
  };
}

/** Parts of ArrayMetadata that are nobody else's business. */
interface Inside {
  followers: readonly MetadataFollower[];
}

const inside = (metadata: ArrayMetadata) => metadata as unknown as Inside;

function withoutFua(array: RaidArray): void {
  for (const { device, superblock } of array.core.liveMembers()) {
    const write = device.write.bind(device);
    device.write = (offset, from, options) =>
      write(offset, from, offset < superblock.dataOffset ? {} : options);
  }
}

interface Barrier {
  readonly name: string;
  readonly scenario: Scenario;
  readonly moment: Moment;
  readonly without: Mutation;
}

const BARRIERS: readonly Barrier[] = [
  {
    name: 'superblocks are active before the first write',
    scenario: complete,
    moment: 'early',
    without: ({ metadata }) => {
      metadata.activate = late(metadata.activate.bind(metadata));
    },
  },
  {
    name: 'superblocks are durable when they are written',
    scenario: memberAway,
    moment: 'early',
    without: withoutFua,
  },
  {
    name: 'a flush reaches all members before it is answered',
    scenario: complete,
    moment: 'any',
    without: ({ metadata }) => {
      metadata.flushMembers = nothing;
    },
  },
  {
    name: 'members are flushed before a superblock says clean',
    scenario: complete,
    moment: 'end',
    without: (array) => unflushedDuring(array, 'deactivate'),
  },
  {
    name: "the bitmap's bits are durable before data is written",
    scenario: withBitmap,
    moment: 'any',
    without: ({ metadata: { intent } }) => {
      intent.durable = late(intent.durable.bind(intent));
    },
  },
  {
    name: "the bitmap's bits stay until all is flushed",
    scenario: withBitmap,
    moment: 'any',
    without: ({ metadata }) => {
      const { intent } = metadata;
      const end = intent.end.bind(intent);
      intent.end = (ticket, isDurable) => {
        end(ticket, isDurable);
        for (const follower of inside(metadata).followers) void follower.onClean();
      };
    },
  },
  {
    name: 'partial parity logs are emptied before the first write',
    scenario: withPpl,
    moment: 'any',
    without: ({ metadata }) => {
      for (const follower of inside(metadata).followers) follower.onActivate = nothing;
    },
  },
  {
    name: 'a member that failed is out on the others before a write is answered',
    scenario: failing,
    moment: 'any',
    without: ({ metadata }) => {
      metadata.recordFaults = nothing;
    },
  },
  {
    name: 'a member that is away loses its role before the first write',
    scenario: memberAway,
    moment: 'any',
    without: ({ metadata }) => {
      metadata.roles.settle = () => false;
    },
  },
  {
    name: 'what was rebuilt is flushed before a superblock says so',
    scenario: rebuilding,
    moment: 'end',
    without: (array) => unflushedDuring(array, 'checkpoint'),
  },
  {
    name: 'a member that joins says that it is not whole before others name it',
    scenario: rebuilding,
    moment: 'early',
    without: ({ metadata }) => {
      metadata.prepareNewMember = async (member) => member.beginRebuild();
    },
  },
];

describe('a power cut does harm only without this barrier:', () => {
  it.each(BARRIERS)('$name', { timeout: 300_000 }, async ({ scenario, moment, without }) => {
    await withSeed(async (random) => {
      const cut = async (seed: number, mutate?: Mutation): Promise<unknown> =>
        scenario({ random: new SeededRandom(seed), moment, mutate }).then(
          () => null,
          (error: unknown) => error,
        );
      for (let round = 1; round <= MAX_ROUNDS; round++) {
        const seed = random.below(2 ** 32);
        // With it, the same cut of the same writes does none.
        expect(await cut(seed), `seed ${seed}`).toBeNull();
        if ((await cut(seed, without)) !== null) return;
      }
      throw new Error(`${MAX_ROUNDS} cuts without it did no harm`);
    });
  });
});
