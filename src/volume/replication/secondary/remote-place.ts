/**
 * A place for a secondary behind a server of ours (host.ts is its other end). The primary's writes go over one
 * connection, which has joined; what begins and ends a resync is asked on short ones of its own, with the session that the
 * join has given: the connection with the data is past its options by then.
 */
import type { z } from 'zod';
import { UserError } from '../../../errors.js';
import { askExport } from '../../../nbd/client/ask.js';
import { ConnectionLost } from '../../../nbd/client/client-errors.js';
import { NbdDevice } from '../../../nbd/client/nbd-device.js';
import type { Generation } from '../replicas-file.js';
import { MOST_RANGES } from './change-pages.js';
import { ANSWERS, answerOf, encodeRequest, type PlaceRequest, SECONDARY_OPTION } from './messages.js';
import {
  type Demotion,
  EPOCH_LOG_BYTES,
  givenUp,
  type JoinedSecondary,
  type PlaceChanges,
  type PlaceLook,
  type PlaceSide,
  type SecondaryIdentity,
  type SecondaryPlace,
  type SecondaryToMake,
  SILENCE_MS,
} from './place.js';
import { gatherPages, unchanged } from './remote-pages.js';

/** What changes nothing and waits for nobody. */
const LOOK_MS = 10_000;
/** Maps of a promoted one are read, which are as long as it is large. */
export const CHANGES_MS = 30_000;
/** From the connection to the answer. Where the server takes longer, what it has recovered by then is done the next time. */
const JOIN_MS = 30_000;
/** Epochs that are durable are applied and flushed first, which takes as long as that disk is slow. */
export const CHANGE_MS = 5 * 60_000;
/** More is not sent as one epoch, whatever the server would take. */
const MOST_EPOCH_BYTES = EPOCH_LOG_BYTES / 2;

const IS_OLDER = 'its server is of an older holdfast, which does not tell it';

export class RemotePlace implements SecondaryPlace {
  constructor(readonly uri: string) {}

  /**
   * null: what answers there is no server of ours, or one that offers no place. A server that hangs up on an option that it
   * does not know is taken for such a one: connecting without it tells.
   */
  static async find(uri: string): Promise<RemotePlace | null> {
    const payload = encodeRequest({ request: 'look' });
    try {
      const reply = await askExport(uri, { option: SECONDARY_OPTION, payload }, { timeoutMs: LOOK_MS });
      return reply.kind === 'unknown' ? null : new RemotePlace(uri);
    } catch (error) {
      if (error instanceof ConnectionLost) return null;
      throw error;
    }
  }

  look(): Promise<PlaceLook> {
    return askPlace(this.uri, { request: 'look' }, ANSWERS.look, LOOK_MS);
  }

  async make(secondary: SecondaryToMake): Promise<void> {
    await askPlace(this.uri, { request: 'make', ...secondary }, ANSWERS.done, CHANGE_MS);
  }

  /** As `look` where its server is too old to say more. */
  side(): Promise<PlaceSide> {
    return unchanged(this.uri, () => this.#sideAtOnce());
  }

  /**
   * Nothing is locked over there between the look and the demote: the server compares, with the image locked, what there is
   * with what `prepare` was given. Of an answer that is lost nobody knows here; asked for again it is found done, or is done.
   */
  async demote(demotion: Demotion, prepare: (changes: PlaceChanges) => Promise<void>): Promise<void> {
    const side = await this.side();
    const changes = givenUp(this.uri, side, demotion);
    if (changes === null) return;
    await prepare(changes);
    const seen = { generation: side.marks!.generation, id: changes.id };
    await askPlace(this.uri, { request: 'demote', ...demotion, seen }, ANSWERS.done, CHANGE_MS);
  }

  async join({ volumeUuid, replicaUuid }: SecondaryIdentity, signal: AbortSignal): Promise<JoinedSecondary> {
    let joined: z.infer<typeof ANSWERS.join> | null = null;
    const device = await NbdDevice.open(this.uri, {
      readOnly: false,
      // One that is lost is resynced, and not waited for: another connection would have to join anew.
      reconnect: { tries: 0 },
      ...{ connectTimeoutMs: JOIN_MS, answerTimeoutMs: SILENCE_MS, signal },
      // It never flushes by itself, for that would end an epoch amid what the primary sends as one. What it keeps is
      // rounded up to twice its bytes at most, and it flushes when half of its room is taken.
      unflushedLimitBytes: 4 * MOST_EPOCH_BYTES,
      first: {
        option: SECONDARY_OPTION,
        payload: encodeRequest({ request: 'join', volumeUuid, replicaUuid }),
        onReply: (reply) => {
          joined = answerOf(this.uri, reply, ANSWERS.join);
        },
      },
    });
    return this.#joined(device, joined!);
  }

  #joined(device: NbdDevice, { session, epochBytes }: z.infer<typeof ANSWERS.join>): JoinedSecondary {
    const closing = new AbortController();
    const change = async (request: PlaceRequest) => {
      await askPlace(this.uri, request, ANSWERS.done, CHANGE_MS, closing.signal);
    };
    return {
      device,
      epochBytes: Math.min(epochBytes, MOST_EPOCH_BYTES),
      beginResync: () => change({ request: 'begin-resync', session }),
      endResync: (generation: Generation) =>
        change({ request: 'end-resync', session, generation, atMs: Date.now() }),
      close: async () => {
        closing.abort(new UserError('INTERRUPTED', `${this.uri}: it is closed`));
        await device.closeSoon();
      },
    };
  }

  async #sideAtOnce(): Promise<PlaceSide | 'changed'> {
    const first = await this.#changes(0);
    if (first === null) {
      const { marks } = await this.look();
      return { marks, changes: null, whyNot: marks?.state === 'promoted' ? IS_OLDER : null };
    }
    const { marks, whyNot } = first;
    if (marks === null || first.changes === null) return { marks, changes: null, whyNot };
    const changes = await gatherPages(this.uri, marks.sizeBytes, async (from) => {
      const page = from === 0 ? first : await this.#changes(from);
      return page?.changes ?? null;
    });
    return changes === 'changed' ? changes : { marks, changes, whyNot };
  }

  /** null: its server does not know the request. */
  async #changes(from: number): Promise<z.infer<typeof ANSWERS.changes> | null> {
    const payload = encodeRequest({ request: 'changes', from, most: MOST_RANGES });
    const reply = await askExport(this.uri, { option: SECONDARY_OPTION, payload }, { timeoutMs: CHANGES_MS });
    return reply.kind === 'malformed' ? null : answerOf(this.uri, reply, ANSWERS.changes);
  }
}

export async function askPlace<S extends z.ZodType>(
  uri: string,
  request: PlaceRequest,
  schema: S,
  timeoutMs: number,
  signal?: AbortSignal,
): Promise<z.infer<S>> {
  const asked = { option: SECONDARY_OPTION, payload: encodeRequest(request) };
  return answerOf(uri, await askExport(uri, asked, { timeoutMs, signal }), schema);
}
