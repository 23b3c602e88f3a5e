/**
 * What of an array is data and what is hole, from what its members say. Each member is asked once. Stripes in
 * which no member has anything are one hole, however many they are; in the others a piece is what the member
 * that holds it says, and data where that has to be reconstructed.
 */
import type { Extent } from '../device/contract.js';
import { ExtentList } from '../device/extent-list.js';
import { RangeSet } from '../device/range-set.js';
import type { ArrayCore } from './core.js';
import type { ArrayMember } from './member.js';

/** What a member has that is no hole, in data. */
type Occupied = Map<ArrayMember, RangeSet>;

export async function arrayExtents(core: ArrayCore, offset: number, length: number): Promise<Extent[]> {
  const { geometry } = core;
  const end = offset + length;
  const first = Math.floor(offset / geometry.stripeDataBytes);
  const last = Math.ceil(end / geometry.stripeDataBytes);
  const occupied = await askMembers(core, first * geometry.chunkBytes, last * geometry.chunkBytes);
  const busy = busyStripes(core, occupied);
  const list = new ExtentList();
  let at = offset;
  for (const stripes of busy.within(first, last)) {
    const busyStart = Math.max(at, stripes.start * geometry.stripeDataBytes);
    const busyEnd = Math.min(end, stripes.end * geometry.stripeDataBytes);
    list.add(at, busyStart - at, 'hole');
    for (const piece of geometry.pieces(busyStart, busyEnd - busyStart)) {
      const start = piece.offsetInData;
      const member = core.slots[piece.slot]!.reader(start, start + piece.length);
      const data =
        member === null
          ? [{ start, end: start + piece.length }]
          : occupied.get(member)!.within(start, start + piece.length);
      addPiece(list, piece, data);
    }
    at = busyEnd;
  }
  list.add(at, end - at, 'hole');
  return list.list();
}

async function askMembers(core: ArrayCore, start: number, end: number): Promise<Occupied> {
  const occupied: Occupied = new Map();
  await Promise.all(
    core.slotMembers().map(async (member) => {
      const { dataOffset } = member.superblock;
      const extents = await member.device.extents(dataOffset + start, end - start);
      const data = extents.filter((extent) => extent.kind !== 'hole');
      occupied.set(
        member,
        new RangeSet(
          data.map((e) => ({ start: e.offset - dataOffset, end: e.offset - dataOffset + e.length })),
        ),
      );
    }),
  );
  return occupied;
}

/** Numbers of the stripes in which any member has anything. */
function busyStripes(core: ArrayCore, occupied: Occupied): RangeSet {
  const { chunkBytes } = core.geometry;
  const busy = new RangeSet();
  for (const ranges of occupied.values()) {
    for (const { start, end } of ranges.list())
      busy.add(Math.floor(start / chunkBytes), Math.ceil(end / chunkBytes));
  }
  // What a member that is gone held of them is not known to be nothing.
  if (core.isDegraded) {
    for (const { start, end } of core.suspect.list())
      busy.add(Math.floor(start / chunkBytes), Math.ceil(end / chunkBytes));
  }
  return busy;
}

function addPiece(
  list: ExtentList,
  piece: { arrayOffset: number; offsetInData: number; length: number },
  data: readonly { start: number; end: number }[],
): void {
  const shift = piece.arrayOffset - piece.offsetInData;
  let at = piece.offsetInData;
  for (const { start, end } of data) {
    list.add(at + shift, start - at, 'hole');
    list.add(start + shift, end - start, 'data');
    at = end;
  }
  list.add(at + shift, piece.offsetInData + piece.length - at, 'hole');
}
