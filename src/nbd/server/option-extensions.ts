/**
 * Options of holdfast's own: whoever makes an export says which it answers, and how. The server carries requests and
 * answers, and knows nothing of what they mean.
 *
 * An option names an export, and brings a payload of bounded length. It is answered by one NBD_REP_HOLDFAST and then
 * NBD_REP_ACK, or by an error; a refusal may have its NBD_REP_HOLDFAST too, which says the same for programs. Either way
 * the conversation goes on.
 */
import { ERROR_REPLIES, NBD_REP_HOLDFAST, REPLIES } from '../protocol/constants.js';
import { decodeOwnRequest } from '../protocol/option-data.js';
import type { ExtensionAnswer } from './export.js';
import { findShown, type Outcome, type Talk } from './talk.js';

/** Of a payload: it is a few names and numbers. */
const MAX_EXTENSION_BYTES = 16 * 1024;

/** An option that the protocol does not have. */
export async function askExtension(talk: Talk, option: number, data: Buffer): Promise<Outcome> {
  const isAny = talk.host.exports.some(({ extensions }) => extensions.has(option));
  if (!isAny) {
    talk.refuse(option, ERROR_REPLIES.NBD_REP_ERR_UNSUP, 'this server does not know the option');
    return 'go on';
  }
  const request = decodeOwnRequest(data);
  if (request === null) {
    talk.refuse(option, ERROR_REPLIES.NBD_REP_ERR_INVALID, 'the data of the option contradicts itself');
    return 'go on';
  }
  if (request.payload.byteLength > MAX_EXTENSION_BYTES) {
    const why = `the option's payload of ${request.payload.byteLength} bytes is too long`;
    talk.refuse(option, ERROR_REPLIES.NBD_REP_ERR_TOO_BIG, why);
    return 'go on';
  }
  const served = findShown(talk.host, request.name);
  const extension = served?.extensions.get(option);
  if (served === null || extension === undefined) {
    const [type, why] =
      served === null
        ? [ERROR_REPLIES.NBD_REP_ERR_UNKNOWN, 'no export has this name']
        : [ERROR_REPLIES.NBD_REP_ERR_UNSUP, 'this export does not know the option'];
    talk.refuse(option, type, why);
    return 'go on';
  }
  answer(talk, option, await extension(request.payload, talk.peerOf(served)));
  return 'go on';
}

function answer(talk: Talk, option: number, answered: ExtensionAnswer): void {
  if (answered.kind === 'malformed') {
    talk.refuse(option, ERROR_REPLIES.NBD_REP_ERR_INVALID, answered.why);
    return;
  }
  talk.reply(option, NBD_REP_HOLDFAST, answered.payload);
  if (answered.kind === 'done') talk.reply(option, REPLIES.NBD_REP_ACK);
  else talk.refuse(option, ERROR_REPLIES.NBD_REP_ERR_POLICY, answered.why);
}
