/**
 * Which replicas a volume has, and which generation of itself it is: one JSON file, replaced as a whole. What
 * differs from them is never in it: that is in the log and the maps.
 */
import { z } from 'zod';
import { replaceJson } from '../../device/replace-json.js';
import { UserError } from '../../errors.js';
import { readCheckedJson } from '../checked-json.js';

/** 16 bytes. */
export const hex = z.string().regex(/^[0-9a-f]{32}$/);

export const generationSchema = z.object({ number: z.number().int().nonnegative(), id: hex });

/** Limits of a replica; what is not said is as in replication/settings.ts. */
export const limitsSchema = z.object({
  /** Of a resync; bytes a second. */
  rateBytes: z.number().int().positive().optional(),
  whenOutpaced: z.enum(['hold', 'throttle', 'report']).optional(),
  /** What may wait to be sent, in memory. */
  queueBytes: z.number().int().positive().optional(),
  /** An acknowledgement that takes longer is none. */
  lateMs: z.number().int().positive().optional(),
});

export type ReplicaLimits = z.infer<typeof limitsSchema>;

const replicaSchema = z.object({
  name: z.string().min(1),
  uuid: hex,
  /** A path, from anywhere, or an NBD URI. */
  to: z.string().min(1),
  /** An NBD URI, and it was made in a place that a server of ours offers there. */
  isServed: z.boolean().default(false),
  mode: z.enum(['async', 'sync']),
  onLoss: z.enum(['continue', 'stop']),
  limits: limitsSchema.default({}),
  isPaused: z.boolean(),
  /** The last resync ended: it is a moment of the primary, or was when it was reached last. */
  isWhole: z.boolean(),
  /** Its map could not be written: all of it is dirty. */
  isMapLost: z.boolean(),
  /** Somebody promoted it: why it is not ours any more; null: it is. */
  diverged: z.string().nullable(),
  /** Since when it is not in sync, milliseconds since 1970; null: it is, or was whenever this process looked. For people. */
  awaySinceMs: z.number().int().nonnegative().nullable().default(null),
});

/**
 * Of a volume that was a secondary: what is written since it was promoted is tracked for its primary of before, which may come
 * back. `parent` is that one's generation.
 */
const formerSchema = z.object({
  /** What the former primary's list calls the secondary that this volume was. */
  uuid: hex,
  /** When it was promoted, milliseconds since 1970. */
  sinceMs: z.number().int().nonnegative(),
  /** Its map could not be written: all of it counts as written. */
  isMapLost: z.boolean(),
});

const schema = z.object({
  formatVersion: z.literal(1),
  volumeUuid: hex,
  sizeBytes: z.number().int().positive(),
  generation: generationSchema,
  /** The generation that this one began from; null: it is the first, or an older holdfast wrote this. */
  parent: generationSchema.nullable().default(null),
  former: formerSchema.nullable().default(null),
  /**
   * Of a volume that is, or was, a secondary: what its primary's list calls it; these replicas were made while it was (secondary/own-replicas.ts).
   * null: they are a volume's.
   */
  ofSecondary: hex.nullable().default(null),
  replicas: z.array(replicaSchema),
});

/** Its id in hexadecimal, as all ids in the list. */
export type Generation = z.infer<typeof generationSchema>;
export type FormerPrimary = z.infer<typeof formerSchema>;
export type ReplicaEntry = z.infer<typeof replicaSchema>;
export type ReplicasContent = z.infer<typeof schema>;

export function readReplicas(path: string): Promise<ReplicasContent> {
  return readCheckedJson(path, schema, {
    what: 'a list of replicas',
    hint: 'Put it back as it was; or move its folder away and add the replicas anew, which copies them in full.',
  });
}

/** The file as it is in memory, and changes of it one after another. */
export class ReplicasFile {
  #turn: Promise<void> = Promise.resolve();
  #isClosed = false;

  private constructor(
    private readonly path: string,
    private current: ReplicasContent,
  ) {}

  static async open(path: string): Promise<ReplicasFile> {
    return new ReplicasFile(path, await readReplicas(path));
  }

  static async create(path: string, content: ReplicasContent): Promise<void> {
    await replaceJson(path, content);
  }

  get content(): ReplicasContent {
    return this.current;
  }

  entry(name: string): ReplicaEntry | undefined {
    return this.current.replicas.find((one) => one.name === name);
  }

  add(entry: ReplicaEntry): Promise<void> {
    return this.#change((content) => ({ ...content, replicas: [...content.replicas, entry] }));
  }

  remove(name: string): Promise<void> {
    return this.#change((content) => ({
      ...content,
      replicas: content.replicas.filter((one) => one.name !== name),
    }));
  }

  /** Durable when it returns. */
  update(name: string, change: Partial<ReplicaEntry>): Promise<void> {
    return this.#change((content) => ({
      ...content,
      replicas: content.replicas.map((one) => (one.name === name ? { ...one, ...change } : one)),
    }));
  }

  /** Durable when it returns. */
  setGeneration(generation: Generation): Promise<void> {
    return this.#change((content) => ({ ...content, generation }));
  }

  /** In place of the former primary, which is one of the replicas from now on. Durable when it returns. */
  addFormer(entry: ReplicaEntry): Promise<void> {
    return this.#change((content) => ({ ...content, former: null, replicas: [...content.replicas, entry] }));
  }

  /** Durable when it returns. */
  updateFormer(change: Partial<FormerPrimary>): Promise<void> {
    return this.#change((content) => ({
      ...content,
      former: content.former === null ? null : { ...content.former, ...change },
    }));
  }

  /** Ends when all changes so far have been made, or have failed; none is made from then on: somebody else may have it open. */
  close(): Promise<void> {
    this.#isClosed = true;
    return this.#turn;
  }

  #change(change: (content: ReplicasContent) => ReplicasContent): Promise<void> {
    if (this.#isClosed) return Promise.reject(closedMeanwhile(this.path));
    const turn = this.#turn.then(async () => {
      const next = change(this.current);
      await replaceJson(this.path, next);
      this.current = next;
    });
    this.#turn = turn.catch(() => {});
    return turn;
  }
}

/** Whoever was at work on replicas while what has them was closed. */
export function closedMeanwhile(image: string): UserError {
  return new UserError('IO_ERROR', `${image}: it was closed meanwhile`, {
    hint: 'Ask again.',
    details: { image },
  });
}
