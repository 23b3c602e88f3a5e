/**
 * NBD_CMD_BLOCK_STATUS: one chunk for each context that the client selected.
 *
 * Contexts are asked window by window, because the answer for 4 GiB of a fragmented device has a million
 * extents, and a reply may end early ("Structured reply types"): the client asks on where it ended.
 */
import { CHUNKS, COMMAND_FLAGS } from '../protocol/constants.js';
import { encodeBlockStatus, type RequestHeader, type StatusDescriptor } from '../protocol/transmission.js';
import type { Session } from './session.js';
import type { StatusContext } from './status-contexts.js';
import { blockEnd, blockStart } from './unaligned.js';

/** What a query may hold in memory: the extents of one window, and its descriptors. */
export const STATUS_BYTES = 1024 * 1024;
const FIRST_WINDOW_BYTES = 16 * 1024 * 1024;
const FEW_EXTENTS = 64;
const MAX_DESCRIPTORS = 8192;

/** Answers the request. */
export async function answerStatus(session: Session, request: RequestHeader): Promise<void> {
  const { contexts, replies } = session;
  const one = (request.flags & COMMAND_FLAGS.NBD_CMD_FLAG_REQ_ONE) !== 0;
  const preparing = new Set(contexts.flatMap(({ context }) => context.prepare ?? []));
  for (const prepare of preparing) await prepare();
  const payloads: Buffer[] = [];
  for (const { id, context } of contexts) {
    const descriptors = await descriptorsOf(session, context, request, one ? 1 : MAX_DESCRIPTORS);
    payloads.push(encodeBlockStatus({ contextId: id, descriptors }));
  }
  // Only now: an error in the last context is an error of the request.
  for (const [i, payload] of payloads.entries()) {
    replies.chunk(request, CHUNKS.NBD_REPLY_TYPE_BLOCK_STATUS, payload, i === payloads.length - 1);
  }
}

/** At most `most` descriptors, neighbours of one status joined, within the request. */
async function descriptorsOf(
  { served }: Session,
  context: StatusContext,
  { offset, length }: RequestHeader,
  most: number,
): Promise<StatusDescriptor[]> {
  const { device } = served.device;
  const joined: { length: number; flags: number }[] = [];
  const end = offset + length;
  let window = FIRST_WINDOW_BYTES;
  // One more than is wanted tells that the last one is whole.
  for (let at = offset; at < end && joined.length <= most; ) {
    const start = blockStart(device, at);
    const stop = Math.min(blockEnd(device, end), start + window);
    const told = await context.status(start, stop - start);
    let reached = start;
    for (const { length: bytes, flags } of told) {
      const from = Math.max(reached, at);
      reached += bytes;
      const to = Math.min(reached, end);
      if (from >= to) continue;
      const last = joined.at(-1);
      if (last?.flags === flags) last.length += to - from;
      else joined.push({ length: to - from, flags });
    }
    if (reached <= at) throw new Error(`the context ${context.name} told nothing of offset ${at}`);
    at = reached;
    if (told.length <= FEW_EXTENTS) window *= 2;
  }
  return joined.slice(0, most);
}
