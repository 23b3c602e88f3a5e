/**
 * The other end of remote-place.ts: an image that a server offers as a place for a secondary. It is locked as long as it is
 * offered, but for moments in which it is opened anew.
 *
 * Sessions
 * - A primary that joins has a session, and the secondary's device for itself. There is one session at most: who joins ends the
 *   one before. Its device is closed, which waits for the calls in flight, and the next session gets another one, opened from
 *   what is durable. So nothing that the older connection still sends lands once `join` has answered, and what it had not
 *   flushed is dropped.
 * - A connection that ends ends its session in the same way: what is left is what the secondary's own power cut would have left.
 * - Beginning and ending a resync name the session. One that is not the newest is refused: it would speak of what another
 *   connection wrote.
 *
 * All this is done one after another; reads by others wait while the place is opened anew. Replicas of its own
 * (own-replicas.ts) are open as long as the place is.
 */
import { randomBytes } from 'node:crypto';
import type { BlockDevice } from '../../../device/contract.js';
import { UserError } from '../../../errors.js';
import type { SecondaryDevice } from '../../../replication/secondary/index.js';
import type { OperationReporting } from '../../control/control-server.js';
import { assertNone } from '../enable.js';
import {
  idOfOld,
  type Promoted,
  type Rejoining,
  readOldPrimary,
  withOldImage,
} from '../generations/old-primary.js';
import { type PromotedSecondary, promoteImage } from '../generations/promote.js';
import { REPLICA_DISABLE, REPLICA_ENABLE } from '../operations.js';
import { forgetReplicasOf } from '../places.js';
import type { Generation } from '../replicas-file.js';
import type { ReplicaStatus } from '../status.js';
import { pageOf, pageOfOld } from './change-pages.js';
import { type HostStatus, statusOfHosted } from './host-status.js';
import { HostView } from './host-view.js';
import {
  epochBytesOf,
  type HostedPlace,
  type HostTelling,
  marksOfHosted,
  openFirst,
  openHosted,
  operateOn,
  secondaryOf,
} from './hosted-place.js';
import { ImagePlace } from './image-place.js';
import type { ChangesPage } from './messages.js';
import { OwnReplicas } from './own-replicas.js';
import {
  assertOurs,
  changedMeanwhile,
  type Demotion,
  generationOf,
  givenUp,
  type PlaceLook,
  type PlaceMarks,
  type PlaceSide,
  type SecondaryIdentity,
  type SecondaryToMake,
} from './place.js';

/** The connection of a primary. */
export interface SessionPeer {
  hangUp(): void;
  readonly ended: Promise<void>;
}

interface Session {
  readonly id: string;
  readonly peer: SessionPeer;
}

export interface HostedSession {
  readonly session: string;
  readonly device: BlockDevice;
  readonly epochBytes: number;
}

export interface ChangesOfPlace extends Omit<PlaceSide, 'changes'> {
  readonly changes: ChangesPage | null;
}

interface OldPage {
  readonly changes: ChangesPage;
}

export class SecondaryHost {
  /** What other clients see. */
  readonly view: HostView;
  #session: Session | null = null;
  #opened: HostedPlace | null;
  #trouble: UserError | null = null;
  /** Until the place has been opened anew. */
  #opening: Promise<void> | null = null;
  #turn: Promise<unknown> = Promise.resolve();
  #isClosed = false;
  /** What was last looked at of a promoted one. Nothing writes to it as long as it is open here. */
  #side: PlaceSide | null = null;

  private constructor(
    readonly image: string,
    opened: HostedPlace,
    private readonly telling: HostTelling,
  ) {
    this.#opened = opened;
    this.view = new HostView(opened.image, (use) => this.#use(use));
  }

  /**
   * `sizeBytes`: of an image that is not there yet. Throws IN_USE, VOLUME_NOT_FOUND; USAGE where it is there and of another
   * size; METADATA_DAMAGED and REFUSED as the opening of a secondary.
   */
  static async open(
    image: string,
    sizeBytes: number | undefined,
    telling: HostTelling,
  ): Promise<SecondaryHost> {
    return new SecondaryHost(image, await openFirst(image, sizeBytes, telling.warn), telling);
  }

  look(): Promise<PlaceLook> {
    return this.#exclusively(async () => {
      await this.#usable();
      return { sizeBytes: this.view.size, marks: this.#marks };
    });
  }

  make(secondary: SecondaryToMake): Promise<void> {
    return this.#exclusively(async () => {
      if (!secondary.force) this.#assertNotJoined();
      this.#hangUp();
      await this.#anew(() => new ImagePlace(this.image).make(secondary));
    });
  }

  join(identity: SecondaryIdentity, peer: SessionPeer): Promise<HostedSession> {
    return this.#exclusively(async () => {
      await this.#usable();
      // A stranger ends nobody's session.
      assertOurs(this.image, this.#marks, identity);
      if (this.#session !== null) await this.#endSession();
      const opened = await this.#usable();
      const { own } = opened;
      // What a demote has left that was cut.
      if (own === null) await forgetReplicasOf(this.image);
      const session = { id: randomBytes(16).toString('hex'), peer };
      this.#session = session;
      void peer.ended.then(() => this.#left(session));
      return { session: session.id, device: own?.device ?? opened.device!, epochBytes: epochBytesOf(opened) };
    });
  }

  beginResync(session: string): Promise<void> {
    return this.#exclusively(async () => {
      const device = this.#deviceOf(session);
      await this.#opened!.own?.hold();
      await device.beginResync();
    });
  }

  endResync(session: string, generation: Generation, atMs: number): Promise<void> {
    return this.#exclusively(async () => {
      const device = this.#deviceOf(session);
      const { own } = this.#opened!;
      // What is gathered is of the resync: it is to be in its last epoch.
      await own?.device.flush();
      await device.endResync({ generation: generationOf(generation), atMs });
      await own?.release(generation);
    });
  }

  /** From then on its primary is refused. */
  promote({ force }: { readonly force: boolean }): Promise<PromotedSecondary> {
    return this.#exclusively(async () => {
      this.#hangUp();
      return this.#anew(() => promoteImage(this.image, { force }));
    });
  }

  /**
   * To replicas of its own, as to those of a volume (operations.ts).
   *
   * @throws UserError REFUSED where nothing was made of it, or it was promoted; what the operation throws.
   */
  async operate(name: string, args: unknown, reporting: OperationReporting): Promise<unknown> {
    if (name === REPLICA_ENABLE) return { enabled: await this.#track() };
    if (name === REPLICA_DISABLE) return { disabled: await this.#untrack() };
    const opened = await this.#exclusively(() => this.#usable());
    return operateOn(this.image, opened, { name, args, reporting });
  }

  /** False: it was already. Its primary joins anew: what it writes from then on is tracked. */
  #track(): Promise<boolean> {
    return this.#exclusively(async () => {
      const opened = await this.#usable();
      const secondary = secondaryOf(this.image, opened);
      if (opened.own !== null) return false;
      this.#hangUp();
      await this.#anew(() => OwnReplicas.begin(this.image, secondary));
      return true;
    });
  }

  /** False: it was not. */
  #untrack(): Promise<boolean> {
    return this.#exclusively(async () => {
      const { own } = await this.#usable();
      if (own === null) return false;
      assertNone(this.image, own.replicas);
      this.#hangUp();
      await this.#anew(() => forgetReplicasOf(this.image));
      return true;
    });
  }

  /** Who is at work on replicas of its own is told that they end. */
  stopOperations(): void {
    this.#opened?.own?.stop();
  }

  /** A page of what a promoted one has of its own. */
  changes({ from, most }: { readonly from: number; readonly most: number }): Promise<ChangesOfPlace> {
    return this.#exclusively(async () => {
      await this.#usable();
      if (this.#marks?.state !== 'promoted') return { marks: this.#marks, changes: null, whyNot: null };
      if (this.#side === null || from === 0) this.#side = await new ImagePlace(this.image).side();
      const { marks, changes, whyNot } = this.#side;
      const page = changes === null ? null : pageOf(changes, from, most);
      if (page?.next == null) this.#side = null;
      return { marks, changes: page, whyNot };
    });
  }

  /**
   * A promoted one is a secondary again. The image is locked anew for it, so it may have been written in between: what there is
   * then, under the lock that the demote has too, is what the primary has `seen`, or it is refused.
   */
  demote(demotion: Demotion, seen: { readonly generation: Generation; readonly id: string }): Promise<void> {
    return this.#exclusively(async () => {
      await this.#usable();
      const marks = this.#marks;
      // Nothing is to be done, or to be closed for it: a primary may be connected.
      if (marks?.state !== 'promoted') {
        givenUp(this.image, { marks, changes: null, whyNot: null }, demotion);
        return;
      }
      if (marks.generation.id !== seen.generation.id) throw changedMeanwhile(this.image);
      await this.#anew(() =>
        new ImagePlace(this.image).demote(demotion, async ({ id }) => {
          if (id !== seen.id) throw changedMeanwhile(this.image);
        }),
      );
    });
  }

  /** A page of what the former primary of a volume that was promoted has written (generations/old-primary.ts). */
  former(ours: Promoted, { from, most }: { readonly from: number; readonly most: number }): Promise<OldPage> {
    return this.#exclusively(async () => {
      await this.#usable();
      return { changes: pageOfOld(await readOldPrimary(this.image, ours), from, most) };
    });
  }

  /** It becomes a secondary; what it had written is what was `seen`, or it is refused. */
  rejoin(ours: Promoted, secondary: Parameters<Rejoining['make']>[0], seen: string): Promise<void> {
    return this.#exclusively(async () => {
      this.#assertNotJoined();
      await this.#anew(() =>
        withOldImage(this.image, ours, async (old, { make }) => {
          if (idOfOld(old) !== seen) throw changedMeanwhile(this.image);
          await make(secondary);
        }),
      );
    });
  }

  status(): HostStatus {
    return statusOfHosted(this.#opened, {
      image: this.image,
      isJoined: this.#session !== null,
      trouble: this.#trouble?.message ?? null,
    });
  }

  /** Its own; null: it has none. */
  replicas(): readonly ReplicaStatus[] | null {
    return this.#opened?.own?.replicas.list() ?? null;
  }

  /** Its server has stopped. */
  close(): Promise<void> {
    return this.#exclusively(async () => {
      this.#isClosed = true;
      this.#hangUp();
      await this.#closePlace();
    });
  }

  get #marks(): PlaceMarks | null {
    return marksOfHosted(this.#opened);
  }

  #assertNotJoined(): void {
    if (this.#session === null) return;
    throw new UserError('IN_USE', `${this.image}: its primary is connected`, {
      hint: 'Remove the replica there first; or take it with --force --yes, and what it holds is lost.',
      details: { image: this.image },
    });
  }

  #deviceOf(session: string): SecondaryDevice {
    if (this.#session?.id === session) return this.#opened!.device!;
    throw new UserError(
      'REFUSED',
      `${this.image}: this session has ended: another connection has joined, or it was lost`,
      {
        hint: 'The primary joins again by itself.',
        details: { image: this.image, reason: 'fenced' },
      },
    );
  }

  /** The connection of a session has ended by itself. */
  async #left(session: Session): Promise<void> {
    await this.#exclusively(async () => {
      if (this.#session === session) await this.#endSession();
    }).catch(this.telling.onFault);
  }

  async #endSession(): Promise<void> {
    this.#hangUp();
    await this.#anew(async () => {});
  }

  #hangUp(): void {
    this.#session?.peer.hangUp();
    this.#session = null;
  }

  /** Opened, now or again. */
  async #usable(): Promise<HostedPlace> {
    if (this.#opened === null && !this.#isClosed) await this.#anew(async () => {});
    if (this.#opened !== null) return this.#opened;
    throw this.#trouble ?? new UserError('IO_ERROR', `${this.image}: its server stops`);
  }

  /** Closes what is open, and opens it again behind `body`. Where that fails the next who comes tries again, and is told. */
  async #anew<T>(body: () => Promise<T>): Promise<T> {
    let done = () => {};
    this.#opening = new Promise((resolve) => {
      done = resolve;
    });
    this.#side = null;
    try {
      await this.#closePlace();
      return await body();
    } finally {
      try {
        await this.#open();
      } finally {
        this.#opening = null;
        done();
      }
    }
  }

  async #closePlace(): Promise<void> {
    const opened = this.#opened;
    this.#opened = null;
    await opened?.close({ isLast: this.#isClosed });
  }

  async #open(): Promise<void> {
    if (this.#isClosed) return;
    this.#trouble = null;
    try {
      this.#opened = await openHosted(this.image, this.telling.warn);
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      this.#trouble = error;
    }
  }

  async #use<T>(use: (place: HostedPlace) => Promise<T>): Promise<T> {
    for (;;) {
      if (this.#opening !== null) await this.#opening;
      else if (this.#opened === null) await this.#exclusively(() => this.#usable());
      else return use(this.#opened);
    }
  }

  #exclusively<T>(body: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(body);
    this.#turn = turn.catch(() => {});
    return turn;
  }
}
