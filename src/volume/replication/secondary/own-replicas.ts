/**
 * The replicas that a secondary has of its own: the server that offers it to its primary keeps them.
 *
 * What its primary writes goes, from the top: to what gathers an epoch until it is flushed (replication/gathered-epochs.ts), to the
 * replicated device, to the secondary with its epoch log. An epoch goes down, and to each replica, as one batch. So the end of
 * an epoch there is the end of one here, and a moment of the primary.
 *
 * - While it is no moment of its primary (its first copy, a resync) they are held: what is written is dirty for them.
 * - They are open as long as the place is; the list says of which secondary it is.
 */
import type { BlockDevice } from '../../../device/contract.js';
import { UserError } from '../../../errors.js';
import { GatheredEpochs } from '../../../replication/gathered-epochs.js';
import type { SecondaryDevice } from '../../../replication/secondary/index.js';
import { closeInOrder } from '../../stack.js';
import { makeTracking } from '../make-tracking.js';
import { placesOfImage } from '../places.js';
import { type Generation, ReplicasFile } from '../replicas-file.js';
import { VolumeReplicas } from '../volume-replicas.js';
import { ownListOf } from './own-list.js';
import { described, identityOf, namedGeneration } from './place.js';

const MIB = 1024 * 1024;

/** What an epoch may have: it is gathered in memory, and a replica takes it as a whole. */
export const OWN_EPOCH_BYTES = 8 * MIB;

/** A batch may cost half as much again as what was gathered (gathered-epochs.ts), and is sent in pieces of 1 MiB. */
const LEAST_EPOCH_BYTES = 2 * OWN_EPOCH_BYTES;

/** A server that stops sends so long what is queued. */
const LAST_DRAIN_MS = 2000;

const HELD = 'the volume is a secondary, and is being made like its primary';

export class OwnReplicas {
  /** For its primary to write. */
  readonly device: BlockDevice;
  #stop: (error: UserError) => void = () => {};
  readonly #stopping: Promise<never>;

  private constructor(
    private readonly image: string,
    readonly replicas: VolumeReplicas,
  ) {
    this.device = new GatheredEpochs(replicas.device, { epochBytes: OWN_EPOCH_BYTES });
    this.#stopping = new Promise((_, reject) => {
      this.#stop = reject;
    });
    this.#stopping.catch(() => {});
  }

  /** null: it has none, and what is written to it is not tracked. */
  static async open(
    image: string,
    secondary: SecondaryDevice,
    warn: (message: string) => void,
  ): Promise<OwnReplicas | null> {
    const { marks } = secondary;
    const own = await ownListOf(image, identityOf(marks));
    if (own === null) return null;
    const { places, content } = own;
    const generation = namedGeneration(marks.generation);
    // What a promote that was cut has made of it; and a generation that its primary has begun since.
    if (content.former !== null || content.generation.id !== generation.id)
      await ReplicasFile.create(places.replicas, { ...content, generation, former: null });
    const heldFor = marks.state === 'consistent' ? null : HELD;
    return new OwnReplicas(
      image,
      await VolumeReplicas.open(places, secondary, warn, { heldFor, leastEpochBytes: LEAST_EPOCH_BYTES }),
    );
  }

  /** Makes the list, without a replica: from the next opening on, what is written is tracked. */
  static async begin(image: string, secondary: SecondaryDevice): Promise<void> {
    const { volumeUuid, replicaUuid, generation } = described(secondary.marks);
    await makeTracking(await placesOfImage(image), {
      formatVersion: 1,
      ...{ volumeUuid, generation, ofSecondary: replicaUuid },
      ...{ sizeBytes: secondary.size, parent: null, former: null, replicas: [] },
    });
  }

  /** From when it returns nothing is sent to them. */
  hold(): Promise<void> {
    return this.replicas.hold(HELD);
  }

  /** It is a moment of its primary again, of this generation. */
  async release(generation: Generation): Promise<void> {
    await this.replicas.setGeneration(generation);
    await this.replicas.release();
  }

  /** What is done to them ends, with an error, when `stop` is called, or the place is closed. */
  during<T>(work: () => Promise<T>): Promise<T> {
    return Promise.race([work(), this.#stopping]);
  }

  /** Whoever is at work on them is told. */
  stop(): void {
    this.#stop(
      new UserError(
        'IO_ERROR',
        `${this.image}: it was closed, or promoted, or joined by its primary meanwhile`,
        {
          hint: 'Look at it again: holdfast replica status.',
          details: { image: this.image },
        },
      ),
    );
  }

  /**
   * What was not flushed is dropped, and what is queued is dirty: who waits for it to be closed waits for no replica. `isLast`: it
   * is not opened again soon, so what can be sent at once is. The secondary is to be closed then.
   */
  close({ isLast }: { readonly isLast: boolean }): Promise<void> {
    this.stop();
    const { replicas } = this;
    return closeInOrder([
      () => this.device.close(),
      async () => {
        if (isLast) await replicas.drained(LAST_DRAIN_MS);
      },
      () => replicas.hold('it is closed'),
      () => replicas.close({ waitMs: 0, tells: isLast }),
    ]);
  }
}
