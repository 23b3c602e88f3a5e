/**
 * Reads the epoch log as a crash, or a mere close, has left it: the epochs that are whole, from the tail on. Nothing is
 * written here.
 *
 * What is told apart
 * - An epoch counts with its last record and all before it. The first that does not is where the log ends: it was not
 *   durable, so nobody was told that it was, and what lies behind it is dropped with it.
 * - A record, anywhere, that was written when that epoch was durable says that it is damage and no end. Then nothing of the
 *   log is believed: the image may have later epochs in parts.
 * - Of the last epoch nothing is written later. If it rots, it looks like one that was cut short.
 */

import { SECTOR_BYTES } from '../file-header.js';
import { chained, contentBytes, decodeHead, decodeRecord, headBytes, type ReadHead } from './epoch-record.js';
import { Layer } from './layer.js';
import type { LogHeader } from './log-header.js';
import type { EpochPoint } from './marks.js';
import type { Ring } from './ring.js';
import { damage } from './slots.js';

export interface FoundEpoch {
  readonly point: EpochPoint;
  readonly layer: Layer;
}

export interface FoundLog {
  /** One after the other; the first follows what the header says is applied. */
  readonly epochs: readonly FoundEpoch[];
  /** The end of the last one that is durable. */
  readonly point: EpochPoint;
  /** Bytes of epochs that have no end. */
  readonly droppedBytes: number;
}

const SCAN_BYTES = 1024 * 1024;

/** Throws METADATA_DAMAGED where an epoch is missing that was durable. */
export async function readLog(ring: Ring, header: LogHeader, sizeBytes: number): Promise<FoundLog> {
  const epochs: FoundEpoch[] = [];
  let { tail: position, applied: point } = header;
  for (;;) {
    const left = header.tail + ring.bytes - position;
    const found = await readEpoch(ring, header, { position, epoch: point.epoch + 1, sizeBytes, left });
    if (found.end === null) {
      await refuseGap(ring, header, point.epoch + 1, position);
      return { epochs, point, droppedBytes: found.position - position };
    }
    point = { epoch: point.epoch + 1, atMs: found.end };
    epochs.push({ point, layer: found.layer });
    position = found.position;
  }
}

interface Begin {
  readonly position: number;
  readonly epoch: number;
  readonly sizeBytes: number;
  /** Bytes that it may have. */
  readonly left: number;
}

/** `end`: null, it has none. `position`: behind its last good record. */
async function readEpoch(ring: Ring, header: LogHeader, { position, epoch, sizeBytes, left }: Begin) {
  const layer = new Layer();
  let at = position;
  let chain = 0;
  for (let records = 0; ; records++) {
    const head = await readHead(ring, header, at);
    const fits = head !== null && head.epoch === epoch && head.records === records && head.chain === chain;
    if (!fits || at - position + head.length > left) return { end: null, position: at, layer };
    const bytes = new Uint8Array(head.length);
    await ring.read(at, bytes);
    const record = decodeRecord(bytes, head);
    if (record?.entries.some(({ offset, length }) => offset + length > sizeBytes) !== false)
      return { end: null, position: at, layer };
    let content = at + headBytes(record.entries.length);
    for (const entry of record.entries) {
      const payload = entry.kind === 'data' ? { position: content, written: null } : null;
      layer.put(entry.offset, entry.offset + entry.length, payload);
      content += contentBytes(entry);
    }
    at += head.length;
    chain = chained(chain, record.checksum);
    if (head.endedMs !== null) return { end: head.endedMs, position: at, layer };
  }
}

async function readHead(ring: Ring, header: LogHeader, position: number): Promise<ReadHead | null> {
  const sector = new Uint8Array(SECTOR_BYTES);
  await ring.read(position, sector);
  const head = decodeHead(sector, header.logId);
  return head?.position === position ? head : null;
}

/** Looks for a record that was written when `epoch` was durable. */
async function refuseGap(ring: Ring, header: LogHeader, epoch: number, position: number): Promise<void> {
  for (let at = 0; at < ring.bytes; at += SCAN_BYTES) {
    const length = Math.min(SCAN_BYTES, ring.bytes - at);
    // Most logs were never full: where nothing was written nothing can be found.
    if (!(await ring.hasData(at, length))) continue;
    const bytes = new Uint8Array(length);
    await ring.read(at, bytes);
    for (let sector = 0; sector < length; sector += SECTOR_BYTES) {
      const head = decodeHead(bytes.subarray(sector, sector + SECTOR_BYTES), header.logId);
      if (head === null || head.durable < epoch || head.position % ring.bytes !== at + sector) continue;
      const why = `epoch ${epoch} was durable and is not whole: the epoch log is damaged`;
      throw damage(ring.device, ring.offsetOf(position), why);
    }
  }
}
