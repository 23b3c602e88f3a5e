/**
 * The primary, with its secondaries: a device over what holds the data, in which every change is tracked before it goes down and
 * queued when it is there (coordinated dirty block tracking, figure 4).
 *
 * A flush is the primary's; in `sync` mode it is also that of each secondary in sync, and so is every write with fua. Plain
 * writes are volatile on both sides, as the contract of devices has it; whoever wants each write durable on both (replica
 * mode `sync`) writes with fua.
 *
 * What is written whole (`writeWhole`) is tracked at once, goes down in one turn, and is queued in one turn for each secondary, all
 * of it or nothing: where all that is written is so, what a secondary holds at the end of an epoch is the end of some batch.
 */
import { writeAll } from '../device/abilities.js';
import { adviseWrite } from '../device/advice.js';
import { allEnded } from '../device/all-ended.js';
import { byteLength, gather, sliceBuffers } from '../device/buffers.js';
import { CallGuard } from '../device/call-guard.js';
import type {
  AdvisedDevice,
  BatchDevice,
  BatchWrite,
  BlockDevice,
  Buffers,
  Extent,
  WriteOptions,
} from '../device/contract.js';
import { SharedFlush } from '../device/shared-flush.js';
import { UserError } from '../errors.js';
import { BLOCK_BYTES, blocksFilled, blocksWithin } from './blocks.js';
import { SECTOR_BYTES } from './file-header.js';
import type { Replica } from './replica.js';
import type { Change } from './sending/changes.js';
import { DURABLE_AT_ONCE, type PrimaryFlushes } from './sending/primary-flushes.js';
import type { ReplicaState } from './standing.js';
import type { TrackedUpdate, Tracker } from './tracking/tracker.js';

/** Of one update: lists are for what is in flight, and a trim may be of a whole disk. */
const MOST_BYTES = 16384 * BLOCK_BYTES;

/** A write that is longer is sent in parts: a secondary that has replicas of its own takes short epochs. */
const MOST_WRITE_BYTES = 1024 * BLOCK_BYTES;

/** Copies that lie together: none of it is free before all of them were sent. */
const SHARED_BYTES = 256 * 1024;

/** Of a synchronous replica: writes go on, whatever is to become of them when it is lost. */
const GOES_ON: ReadonlySet<ReplicaState> = new Set<ReplicaState>(['in-sync', 'resyncing', 'paused']);

/** A change whose bytes are the caller's: not copied yet. */
export type WholeChange =
  | { readonly kind: 'write'; readonly offset: number; readonly length: number; readonly from: Buffers }
  | { readonly kind: 'write-zeroes'; readonly offset: number; readonly length: number };

export class ReplicatedDevice implements BatchDevice, AdvisedDevice {
  readonly name: string;
  readonly size: number;
  readonly blockSize: number;
  readonly readOnly: boolean;
  readonly #flush: SharedFlush;
  /** What is out of range is refused before anything of it is tracked. */
  readonly #guard: CallGuard;

  constructor(
    private readonly lower: BlockDevice | BatchDevice,
    private readonly tracker: Tracker,
    private readonly flushes: PrimaryFlushes,
    private readonly replicas: ReadonlySet<Replica>,
  ) {
    this.name = lower.name;
    this.size = lower.size;
    // Also over what takes bytes: a secondary takes whole sectors.
    this.blockSize = lower.blockSize === 1 ? SECTOR_BYTES : lower.blockSize;
    this.readOnly = lower.readOnly;
    this.#flush = new SharedFlush(() => flushes.flush());
    this.#guard = new CallGuard(this);
  }

  read(offset: number, into: Buffers): Promise<void> {
    return this.#guard.run('read', offset, byteLength(into), () => this.#read(offset, into));
  }

  write(offset: number, from: Buffers, options: WriteOptions = {}): Promise<void> {
    const length = byteLength(from);
    return this.#guard.run('write', offset, length, () =>
      this.#change([{ kind: 'write', offset, length, from }], options, () =>
        this.lower.write(offset, from, options),
      ),
    );
  }

  /** All of it is refused, or nothing. */
  async writeBatch(batch: readonly BatchWrite[]): Promise<void> {
    const asked: WholeChange[] = [];
    for (const { offset, from } of batch) {
      const length = byteLength(from);
      if (!this.#guard.admits('write', offset, length))
        await this.#guard.run('write', offset, length, async () => {});
      if (length > 0) asked.push({ kind: 'write', offset, length, from });
    }
    const [first] = asked;
    if (first === undefined) return;
    await this.#guard.run('write', first.offset, first.length, () =>
      this.#change(asked, {}, () => writeAll(this.lower, batch)),
    );
  }

  willWrite(offset: number, length: number): void {
    this.tracker.expect(blocksWithin(offset, length));
    adviseWrite(this.lower, offset, length);
  }

  /**
   * Changes of disjoint ranges that belong together: no epoch of a secondary ends amid them. Below they are called in one turn,
   * so a secondary that lies there has them all between two flushes, whoever flushes. All of it is refused, or nothing.
   */
  async writeWhole(changes: readonly WholeChange[]): Promise<void> {
    for (const { kind, offset, length } of changes)
      if (length === 0 || !this.#guard.admits('write', offset, length))
        await this.#guard.run(kind, offset, length, async () => {});
    const asked = changes.filter(({ length }) => length > 0);
    const [first] = asked;
    if (first === undefined) return;
    await this.#guard.run(first.kind, first.offset, first.length, () => this.#whole(asked));
  }

  writeZeroes(offset: number, length: number, options: WriteOptions = {}): Promise<void> {
    return this.#guard.run('write-zeroes', offset, length, () => this.#zero(offset, length, options));
  }

  /** What is left would be each device's to choose, and both sides are to read alike: it is zeroes, which may be holes. */
  trim(offset: number, length: number): Promise<void> {
    return this.#guard.run('trim', offset, length, () => this.#zero(offset, length, {}));
  }

  /** What it fails with is final where it is so below. */
  flush(): Promise<void> {
    return this.#guard.flush(
      async () => {
        const replicated = this.#synchronous().map((replica) => this.#orLost(replica, replica.drained()));
        await allEnded([this.#flush.run(), ...replicated]);
        // Where nothing is dirty there is nothing that the flush would promise and not have.
        this.#assertNotStopped(({ dirtyBlocks }) => dirtyBlocks > 0);
      },
      () => false,
    );
  }

  extents(offset: number, length: number): Promise<Extent[]> {
    return this.#guard.ask(offset, length, [], () => this.lower.extents(offset, length));
  }

  /** Of itself: what lies below is its owner's. */
  close(): Promise<void> {
    return this.#guard.close(async () => {});
  }

  /** What is dirty of it is copied on the way, where a replica is to be resynced so (paragraph 92). */
  async #read(offset: number, into: Buffers): Promise<void> {
    const asked = [...this.replicas].filter(({ copiesOnRead }) => copiesOnRead);
    if (asked.length === 0) return this.lower.read(offset, into);
    const range = blocksFilled(offset, byteLength(into), this.size);
    const carriers = asked.filter((replica) => replica.isDirty(range));
    if (carriers.length === 0) return this.lower.read(offset, into);
    const isCarried = await this.tracker.copy(range, () => {
      const reading = this.lower.read(offset, into);
      for (const replica of carriers) replica.carry(range, offset, reading, into);
      return reading;
    });
    if (!isCarried) await this.lower.read(offset, into);
  }

  async #zero(offset: number, length: number, options: WriteOptions): Promise<void> {
    for (const piece of pieces(offset, length))
      await this.#change([{ kind: 'write-zeroes', ...piece }], options, () =>
        this.lower.writeZeroes(piece.offset, piece.length, options),
      );
  }

  async #whole(asked: readonly WholeChange[]): Promise<void> {
    this.#assertNotStopped();
    const parts = asked.flatMap(split);
    const updates = this.#updatesOf(parts);
    await this.tracker.write(updates, async () => {
      await allEnded(asked.map((each) => this.#below(each)));
      const changes = this.#isAnyQueued ? copiesOf(parts) : [];
      if (changes.length === 0) return;
      for (const replica of this.replicas) replica.enqueueBatch(updates, changes, this.flushes.stamp);
    });
  }

  #below(change: WholeChange): Promise<void> {
    const { kind, offset, length } = change;
    return kind === 'write' ? this.lower.write(offset, change.from) : this.lower.writeZeroes(offset, length);
  }

  async #change(
    whole: readonly WholeChange[],
    { fua = false }: WriteOptions,
    below: () => Promise<void>,
  ): Promise<void> {
    this.#assertNotStopped();
    const asked = whole.some(({ length }) => length > MOST_WRITE_BYTES) ? whole.flatMap(split) : whole;
    const updates = this.#updatesOf(asked);
    const sent: (readonly [Replica, number])[] = [];
    await this.tracker.write(updates, async () => {
      await below();
      const stamp = fua ? DURABLE_AT_ONCE : this.flushes.stamp;
      // One copy for all of them.
      const changes = this.#isAnyQueued ? copiesOf(asked) : [];
      for (const [i, change] of changes.entries())
        for (const replica of this.replicas) {
          const position = replica.enqueue(updates[i]!, change, stamp);
          if (position !== null) sent.push([replica, position]);
        }
    });
    if (!fua) return;
    await Promise.all(
      sent
        .filter(([{ settings }]) => settings.mode === 'sync')
        .map(([replica, position]) => this.#orLost(replica, replica.durable(position))),
    );
    this.#assertNotStopped();
  }

  #updatesOf(asked: readonly WholeChange[]): TrackedUpdate[] {
    return this.tracker.updates(
      asked.map(({ offset, length }) => blocksWithin(offset, length)),
      asked.map(({ offset, length }) => blocksFilled(offset, length, this.size)),
    );
  }

  get #isAnyQueued(): boolean {
    return [...this.replicas].some(({ state }) => state === 'in-sync' || state === 'resyncing');
  }

  #synchronous(): Replica[] {
    return [...this.replicas].filter(({ settings }) => settings.mode === 'sync');
  }

  /** One that is lost meanwhile has its blocks dirty: whether that will do is its setting. */
  async #orLost(replica: Replica, durable: Promise<void>): Promise<void> {
    try {
      await durable;
    } catch (cause) {
      if (replica.state === 'in-sync') throw cause;
    }
  }

  /** One that was paused or is held is away because somebody wanted it so. */
  #assertNotStopped(matters: (replica: Replica) => boolean = () => true): void {
    for (const replica of this.#synchronous().filter(matters)) {
      const { name, state, reason, settings, isHeld } = replica;
      if (settings.onLoss === 'continue' || GOES_ON.has(state) || isHeld) continue;
      throw new UserError(
        'REFUSED',
        `${this.name} takes no writes: its synchronous replica ${name} is ${state} (${reason})`,
        {
          hint: 'Bring it back, or let writes go on without it: holdfast replica pause.',
          details: { image: this.name, replica: name },
        },
      );
    }
  }
}

/** Small ones share their memory: as many buffers of their own would be work for the collector. */
function copiesOf(asked: readonly WholeChange[]): Change[] {
  let left = asked.reduce((sum, each) => sum + (each.kind === 'write' ? each.length : 0), 0);
  let room = new Uint8Array(0);
  return asked.map((each) => {
    if (each.kind !== 'write') return each;
    const { kind, offset, length, from } = each;
    if (length > room.length) room = new Uint8Array(Math.max(length, Math.min(left, SHARED_BYTES)));
    const bytes = room.subarray(0, length);
    room = room.subarray(length);
    left -= length;
    gather(from, 0, bytes);
    return { kind, offset, length, bytes };
  });
}

/** Zeroes of any length are one call, and writes may be longer than an epoch is: as updates, and on their way, they are several. */
function split(change: WholeChange): WholeChange[] {
  const { kind, offset, length } = change;
  const most = kind === 'write' ? MOST_WRITE_BYTES : MOST_BYTES;
  if (length <= most) return [change];
  return [...pieces(offset, length, most)].map((piece) =>
    kind === 'write'
      ? { kind, ...piece, from: sliceBuffers(change.from, piece.offset - offset, piece.length) }
      : { kind, ...piece },
  );
}

function* pieces(
  offset: number,
  length: number,
  mostBytes = MOST_BYTES,
): Generator<{ offset: number; length: number }> {
  for (let at = offset; at < offset + length; ) {
    const end = Math.min(offset + length, Math.floor(at / mostBytes + 1) * mostBytes);
    yield { offset: at, length: end - at };
    at = end;
  }
}
