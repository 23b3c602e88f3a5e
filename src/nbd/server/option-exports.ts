/**
 * Options about exports: LIST, and INFO and GO, which differ only in what follows ("Option types" of proto.md).
 */
import { ERROR_REPLIES, INFOS, OPTIONS, REPLIES } from '../protocol/constants.js';
import {
  decodeInfoRequest,
  encodeInfo,
  encodeListedExport,
  type Info,
  type InfoRequest,
} from '../protocol/option-data.js';
import type { ServedExport } from './served-export.js';
import { agreement, findExport, type Outcome, type Talk } from './talk.js';

export function listExports(talk: Talk, data: Buffer): Outcome {
  const option = OPTIONS.NBD_OPT_LIST;
  if (data.byteLength > 0) {
    talk.refuse(option, ERROR_REPLIES.NBD_REP_ERR_INVALID, 'the option has no data');
    return 'go on';
  }
  for (const { listed } of talk.host.exports) {
    talk.reply(option, REPLIES.NBD_REP_SERVER, encodeListedExport(listed));
  }
  talk.reply(option, REPLIES.NBD_REP_ACK);
  return 'go on';
}

/** INFO or GO. */
export function chooseExport(talk: Talk, option: number, data: Buffer): Outcome {
  const request = decodeInfoRequest(data);
  if (request === null) {
    talk.refuse(option, ERROR_REPLIES.NBD_REP_ERR_INVALID, 'the data of the option contradicts itself');
    return 'go on';
  }
  const served = findExport(talk, request.name);
  if (served === null) {
    talk.refuse(option, ERROR_REPLIES.NBD_REP_ERR_UNKNOWN, 'no export has this name');
    return 'go on';
  }
  for (const info of infosOf(talk, served, request)) {
    talk.reply(option, REPLIES.NBD_REP_INFO, encodeInfo(info));
  }
  talk.reply(option, REPLIES.NBD_REP_ACK);
  if (option === OPTIONS.NBD_OPT_INFO) return 'go on';
  return agreement(talk, served, request.infos.includes(INFOS.NBD_INFO_BLOCK_SIZE));
}

/** What was asked for, and NBD_INFO_EXPORT always. */
function infosOf(
  talk: Talk,
  served: ServedExport,
  { infos }: InfoRequest,
): Exclude<Info, { kind: 'unknown' }>[] {
  const { listed, sizes } = served;
  const size = BigInt(served.size);
  const told: Exclude<Info, { kind: 'unknown' }>[] = [
    { kind: 'export', size, transmissionFlags: served.transmissionFlags(talk.structured) },
  ];
  if (infos.includes(INFOS.NBD_INFO_NAME)) told.push({ kind: 'name', text: listed.name });
  if (infos.includes(INFOS.NBD_INFO_DESCRIPTION) && listed.description !== '')
    told.push({ kind: 'description', text: listed.description });
  if (infos.includes(INFOS.NBD_INFO_BLOCK_SIZE)) told.push({ kind: 'block-size', ...sizes });
  return told;
}
