/**
 * Block status as extents (NBD doc/proto.md, "`base:allocation` metadata context", "NBD_CMD_BLOCK_STATUS").
 *
 * A server may answer less than was asked, and more; its extents need not end where blocks do. A block that is of
 * two kinds is data, and so is a hole that is not said to read as zeroes.
 */
import type { Extent, ExtentKind } from '../../device/contract.js';
import { ExtentList } from '../../device/extent-list.js';
import { ALLOCATION_FLAGS, COMMANDS } from '../protocol/constants.js';
import type { StatusDescriptor } from '../protocol/transmission.js';
import type { NbdSession } from './session.js';

/** Asked for at once: lengths have 32 bits. */
const LONGEST_BYTES = 1024 * 1024 * 1024;

export async function statusExtents(
  session: NbdSession,
  blockSize: number,
  offset: number,
  length: number,
): Promise<Extent[]> {
  if (!session.traits.canTellHoles) return [{ offset, length, kind: 'data' }];
  const told = new ExtentList();
  const end = offset + length;
  for (let at = offset; at < end; ) {
    // Requests are of whole blocks: of a block that was told of in part the whole is asked for again.
    const from = at - (at % blockSize);
    let next = from;
    const before = at;
    for (const { length: bytes, flags } of await ask(session, from, Math.min(end - from, LONGEST_BYTES))) {
      next += bytes;
      const stop = Math.min(next, end);
      if (stop > at) told.add(at, stop - at, kindOf(flags));
      at = Math.max(at, stop);
    }
    if (at === before) {
      // Nothing new: this block is not to be had whole.
      told.add(at, from + blockSize - at, 'data');
      at = from + blockSize;
    }
  }
  return inWholeBlocks(told.list(), blockSize, offset, end);
}

async function ask(
  session: NbdSession,
  offset: number,
  length: number,
): Promise<readonly StatusDescriptor[]> {
  let told: readonly StatusDescriptor[] = [];
  await session.request({
    command: COMMANDS.NBD_CMD_BLOCK_STATUS,
    flags: 0,
    offset,
    length,
    onStatus: (descriptors) => {
      told = descriptors;
    },
  });
  return told;
}

function kindOf(flags: number): ExtentKind {
  if ((flags & ALLOCATION_FLAGS.NBD_STATE_ZERO) === 0) return 'data';
  return (flags & ALLOCATION_FLAGS.NBD_STATE_HOLE) === 0 ? 'zero' : 'hole';
}

function inWholeBlocks(told: readonly Extent[], blockSize: number, offset: number, end: number): Extent[] {
  const list = new ExtentList();
  let at = offset;
  for (const { offset: start, length, kind } of told) {
    const first = Math.ceil(start / blockSize) * blockSize;
    const last = Math.floor((start + length) / blockSize) * blockSize;
    if (last <= first) continue;
    list.add(at, first - at, 'data');
    list.add(first, last - first, kind);
    at = last;
  }
  list.add(at, end - at, 'data');
  return list.list();
}
