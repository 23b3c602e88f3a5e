/**
 * The header of a half from bytes and to bytes. It is written once, at the making. What is decoded has a good checksum
 * and sizes that can be; features that are not known are told and not judged here.
 */
import { crc32c } from '@node-rs/crc32';
import { allCountable } from './checked-numbers.js';
import { HEADER_MAGIC, HEADER_VERSION, METADATA_HEADER } from './fields.js';
import { type Checked, inBlocks, type Place } from './halves.js';
import { BLOCK_BYTES, faultOf, type Layout, PAGE_BYTES } from './layout.js';

export interface Header {
  readonly uuid: Uint8Array;
  readonly layout: Layout;
  readonly roCompat: number;
  readonly incompat: number;
  /** 1, or one that only a later holdfast knows: then nothing else of it may be believed. */
  readonly version: number;
}

export const HEADER_PLACE: Place = {
  what: "the metadata's header",
  code: 'HEADER_COPY_DAMAGED',
  offset: 0,
  length: BLOCK_BYTES,
};

const CHECKSUM_AT = METADATA_HEADER.offsetOf('checksum');

export function encodeHeader({ uuid, layout }: Pick<Header, 'uuid' | 'layout'>): Uint8Array {
  const bytes = new Uint8Array(METADATA_HEADER.sizeBytes);
  const view = METADATA_HEADER.at(bytes);
  view.setBytes('magic', HEADER_MAGIC);
  view.setNumber('version', HEADER_VERSION);
  view.setBytes('uuid', uuid);
  view.setNumber('page_bytes', PAGE_BYTES);
  view.setNumber('allocation_pages', layout.allocationPages);
  view.setBig('half_bytes', BigInt(layout.halfBytes));
  view.setBig('log_offset', BigInt(layout.logOffset));
  view.setBig('log_bytes', BigInt(layout.logBytes));
  view.setBig('pages_offset', BigInt(layout.pagesOffset));
  view.setBig('pages', BigInt(layout.pages));
  view.setNumber('checksum', crc32c(bytes.subarray(0, CHECKSUM_AT)));
  return inBlocks(bytes);
}

export function hasHeaderMagic(bytes: Uint8Array): boolean {
  return Buffer.compare(METADATA_HEADER.at(bytes).bytes('magic'), HEADER_MAGIC) === 0;
}

export function decodeHeader(bytes: Uint8Array): Checked<Header> {
  const view = METADATA_HEADER.at(bytes);
  if (!hasHeaderMagic(bytes)) return { bad: 'there is none' };
  if (view.number('checksum') !== crc32c(bytes.subarray(0, CHECKSUM_AT)))
    return { bad: 'its checksum is wrong' };
  const known = {
    uuid: view.bytes('uuid').slice(),
    roCompat: view.number('ro_compat'),
    incompat: view.number('incompat'),
    version: view.number('version'),
  };
  const isLater = known.version !== HEADER_VERSION || known.incompat !== 0;
  if (!isLater && view.number('page_bytes') !== PAGE_BYTES)
    return { bad: `its pages have ${view.number('page_bytes')} bytes` };
  const numbers = allCountable({
    halfBytes: view.big('half_bytes'),
    logOffset: view.big('log_offset'),
    logBytes: view.big('log_bytes'),
    pagesOffset: view.big('pages_offset'),
    pages: view.big('pages'),
  });
  const layout = { ...(numbers ?? NOWHERE), allocationPages: view.number('allocation_pages') };
  const wrong = isLater ? null : faultOf(layout);
  return wrong === null ? { good: { ...known, layout } } : { bad: wrong };
}

/** What faultOf refuses. */
const NOWHERE = { halfBytes: 0, logOffset: 0, logBytes: 0, pagesOffset: 0, pages: 0 };
