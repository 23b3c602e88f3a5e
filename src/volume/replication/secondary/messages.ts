/**
 * What a primary and a server of ours say to each other about a secondary (docs/nbd.md, "A place for a secondary"): payloads
 * of NBD_OPT_HOLDFAST_SECONDARY and of its answers, which are JSON. Both may be of different versions: what comes is checked,
 * and what is not known in it is passed over.
 */
import { z } from 'zod';
import { UserError } from '../../../errors.js';
import type { ExtensionReply } from '../../../nbd/client/handshake.js';
import { OWN_OPTIONS } from '../../../nbd/protocol/constants.js';
import { errorSchema, thrownFor } from '../../control/messages.js';
import { generationSchema, hex } from '../replicas-file.js';

export const SECONDARY_OPTION = OWN_OPTIONS.NBD_OPT_HOLDFAST_SECONDARY;

const identity = { volumeUuid: hex, replicaUuid: hex };
const count = z.number().int().nonnegative();
const version = z.literal(1);
/** Of a volume that was promoted; `formerUuid` is what its former primary's list calls it. */
const promoted = { volumeUuid: hex, formerUuid: hex, sizeBytes: count.positive() };

/** The longest list of ranges that is asked for, or understood. */
const MOST_LISTED = 4096;

export const placeRequestSchema = z.discriminatedUnion('request', [
  z.object({ holdfast: version, request: z.literal('look') }),
  z.object({
    ...{ holdfast: version, request: z.literal('make') },
    ...{
      ...identity,
      sizeBytes: count.positive(),
      generation: generationSchema,
      force: z.boolean().default(false),
    },
  }),
  z.object({ holdfast: version, request: z.literal('join'), ...identity }),
  z.object({ holdfast: version, request: z.literal('begin-resync'), session: hex }),
  z.object({
    holdfast: version,
    request: z.literal('end-resync'),
    session: hex,
    generation: generationSchema,
    /** The primary's clock. */
    atMs: count,
  }),
  z.object({
    ...{ holdfast: version, request: z.literal('changes') },
    /** From this block on. */
    from: count,
    /** Ranges of each kind; the server may give fewer. */
    most: count.positive(),
  }),
  z.object({
    ...{ holdfast: version, request: z.literal('demote'), ...identity },
    /** Of the volume that it became, as it was looked at, and the id of what it had written. */
    seen: z.object({ generation: generationSchema, id: hex }),
    /** Of the primary that it is to be like. */
    generation: generationSchema,
    parent: generationSchema.nullable(),
    /** The primary's clock. */
    atMs: count,
  }),
  z.object({
    ...{ holdfast: version, request: z.literal('former'), ...promoted },
    /** As of `changes`. */
    from: count,
    most: count.positive(),
  }),
  z.object({
    ...{ holdfast: version, request: z.literal('rejoin'), ...promoted, replicaUuid: hex },
    /** The id of what it had written, as it was looked at. */
    seen: hex,
    generation: generationSchema,
  }),
]);

type WithoutVersion<T> = T extends unknown ? Omit<T, 'holdfast'> : never;

export type PlaceRequest = WithoutVersion<z.input<typeof placeRequestSchema>>;

const marksSchema = z
  .object({
    ...identity,
    state: z.enum(['initial', 'consistent', 'resyncing', 'promoting', 'promoted']),
    sizeBytes: count,
    generation: generationSchema,
    /** An older server does not say. */
    parent: generationSchema.nullable().default(null),
    point: z.object({ epoch: count, atMs: count }),
  })
  .nullable();

/** First block, and how many. `ranges`: null where they are not known. */
const rangesSchema = z.object({
  ranges: z
    .array(z.tuple([count, count.positive()]).readonly())
    .max(MOST_LISTED)
    .readonly()
    .nullable(),
  trouble: z.string().nullable(),
});

const changesSchema = z.object({
  sinceMs: count,
  replicas: z.array(z.string()).readonly(),
  id: hex,
  written: rangesSchema,
  putBack: rangesSchema,
  /** The block from which on there is more; null: there is no more. */
  next: count.nullable(),
});

/** change-pages.ts */
export type RangesPage = z.infer<typeof rangesSchema>;
export type ChangesPage = z.infer<typeof changesSchema>;

export const ANSWERS = {
  look: z.object({ sizeBytes: count, marks: marksSchema }),
  /** Marks and changes are of one moment. */
  changes: z.object({ marks: marksSchema, changes: changesSchema.nullable(), whyNot: z.string().nullable() }),
  /** `putBack`: blocks that were never copied from it, and need not be copied to it. `sinceMs` 0: not known. */
  former: z.object({ changes: changesSchema }),
  done: z.object({}),
  join: z.object({ session: hex, epochBytes: count.positive() }),
} as const;

export function encodeRequest(request: PlaceRequest): Uint8Array {
  return Buffer.from(JSON.stringify({ holdfast: 1, ...request }));
}

/** What the server says. @throws UserError UNSUPPORTED where it does not know the option, or not for this export; what it refused with. */
export function answerOf<S extends z.ZodType>(uri: string, reply: ExtensionReply, schema: S): z.infer<S> {
  if (reply.kind === 'unknown')
    throw new UserError('UNSUPPORTED', `${uri}: its server has no place for secondaries there`, {
      hint: 'Serve the image there with: holdfast serve IMAGE --secondary',
      details: { image: uri },
    });
  if (reply.kind === 'malformed') throw misunderstood(uri, reply.why);
  if (reply.kind === 'refused') throw refusal(uri, reply.why, reply.payload);
  const answer = schema.safeParse(parsed(reply.payload));
  if (answer.success) return answer.data;
  throw misunderstood(uri, z.prettifyError(answer.error));
}

function refusal(uri: string, why: string, payload: Buffer | null): Error {
  const told = z.object({ error: errorSchema }).safeParse(payload === null ? null : parsed(payload));
  if (!told.success) return misunderstood(uri, why);
  const { error } = told.data;
  const details = { ...error.details, image: uri };
  return thrownFor({ ...error, message: `${uri}: ${error.message}`, details });
}

export function misunderstood(uri: string, why: string): UserError {
  return new UserError(
    'UNSUPPORTED',
    `${uri}: its server and this holdfast do not understand each other: ${why}`,
    {
      hint: 'Use the same version on both sides.',
      details: { image: uri },
    },
  );
}

/** null: it is no JSON. */
export function parsed(payload: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(payload).toString('utf8'));
  } catch {
    return null;
  }
}
