/**
 * Options about metadata contexts: LIST_META_CONTEXT and SET_META_CONTEXT ("Metadata querying" and "Option types"
 * of proto.md). Contexts have their place in the export's list as id, counted from 1.
 */
import { ERROR_REPLIES, OPTIONS, REPLIES } from '../protocol/constants.js';
import { decodeMetaContextRequest, encodeMetaContext } from '../protocol/option-data.js';
import type { ServedExport } from './served-export.js';
import { isListedBy } from './status-contexts.js';
import { findExport, type Outcome, type Talk } from './talk.js';

interface Asked {
  readonly served: ServedExport;
  readonly queries: readonly string[];
}

/** Without queries all that the export has; an id means nothing here. */
export function listContexts(talk: Talk, data: Buffer): Outcome {
  const option = OPTIONS.NBD_OPT_LIST_META_CONTEXT;
  const asked = understood(talk, option, data);
  if (asked === null) return 'go on';
  const { served, queries } = asked;
  for (const context of served.contexts) {
    if (queries.length > 0 && !queries.some((query) => isListedBy(context, query))) continue;
    talk.reply(option, REPLIES.NBD_REP_META_CONTEXT, encodeMetaContext({ id: 0, name: context.name }));
  }
  talk.reply(option, REPLIES.NBD_REP_ACK);
  return 'go on';
}

/** Replaces what was selected before, also when it fails. What is not known is passed over. */
export function setContexts(talk: Talk, data: Buffer): Outcome {
  const option = OPTIONS.NBD_OPT_SET_META_CONTEXT;
  talk.selected = null;
  if (!talk.structured) {
    talk.refuse(option, ERROR_REPLIES.NBD_REP_ERR_INVALID, 'structured replies come first');
    return 'go on';
  }
  const asked = understood(talk, option, data);
  if (asked === null) return 'go on';
  const { served, queries } = asked;
  const contexts = served.contexts
    .map((context, i) => ({ id: i + 1, context }))
    .filter(({ context }) => queries.includes(context.name));
  for (const { id, context } of contexts) {
    talk.reply(option, REPLIES.NBD_REP_META_CONTEXT, encodeMetaContext({ id, name: context.name }));
  }
  talk.reply(option, REPLIES.NBD_REP_ACK);
  talk.selected = { served, contexts };
  return 'go on';
}

/** What was asked of which export; null when it was refused. */
function understood(talk: Talk, option: number, data: Buffer): Asked | null {
  const request = decodeMetaContextRequest(data);
  if (request === null) {
    talk.refuse(option, ERROR_REPLIES.NBD_REP_ERR_INVALID, 'the data of the option contradicts itself');
    return null;
  }
  const served = findExport(talk, request.name);
  if (served === null) {
    talk.refuse(option, ERROR_REPLIES.NBD_REP_ERR_UNKNOWN, 'no export has this name');
    return null;
  }
  return { served, queries: request.queries };
}
