/**
 * Reads from an array.
 *
 * What a good member holds is read from it, without locks: nobody may be writing there at the same time. What
 * cannot be read (the member is missing, not rebuilt yet, or has bad blocks there) is made from all the other
 * members of its rows, and for that the rows must stand still: shared locks. A read that fails is made good
 * the same way, and where the array is open for writing the member is given its content back.
 */

import { bufferList } from '../device/buffers.js';
import type { Buffers } from '../device/contract.js';
import { UserError } from '../errors.js';
import type { ArrayCore } from './core.js';
import type { Faults } from './faults.js';
import type { Piece } from './geometry.js';
import type { ArrayMember } from './member.js';
import type { ArrayMetadata } from './metadata.js';
import { xorOf } from './parity/index.js';
import { readTransfers, type Transfer, writeTransfers } from './transfers.js';

/** A piece of the array and the bytes that it is to be read into. */
interface PieceRead {
  readonly piece: Piece;
  readonly into: Uint8Array;
}

export class ArrayReader {
  constructor(
    private readonly core: ArrayCore,
    private readonly metadata: ArrayMetadata,
    private readonly faults: Faults,
  ) {}

  async read(offset: number, into: Buffers): Promise<void> {
    const direct: (PieceRead & { transfer: Transfer })[] = [];
    const degraded: PieceRead[] = [];
    for (const entry of this.pieces(offset, into)) {
      const { slot, offsetInData, length } = entry.piece;
      const member = this.core.slots[slot]!.reader(offsetInData, offsetInData + length);
      if (member === null) degraded.push(entry);
      else direct.push({ ...entry, transfer: { member, start: offsetInData, bytes: entry.into } });
    }
    const [failures, outcomes] = await Promise.all([
      readTransfers(direct.map((entry) => entry.transfer)),
      Promise.allSettled(degraded.map((entry) => this.reconstruct(entry))),
    ]);
    for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
    if (failures.length === 0) return;
    await this.faults.settleReads(failures);
    for (const { piece, into: bytes, transfer } of direct) {
      const again = failures.some(
        ({ member, start, length }) =>
          member === transfer.member && start <= transfer.start && transfer.start < start + length,
      );
      if (again) await this.readAround({ piece, into: bytes });
    }
  }

  private *pieces(offset: number, into: Buffers): Generator<PieceRead> {
    let arrayOffset = offset;
    for (const bytes of bufferList(into)) {
      for (const piece of this.core.windowPieces(arrayOffset, bytes.length)) {
        const at = piece.arrayOffset - arrayOffset;
        yield { piece, into: bytes.subarray(at, at + piece.length) };
      }
      arrayOffset += bytes.length;
    }
  }

  /** A piece of which some sectors could not be read: those are made from the other members. */
  private async readAround(entry: PieceRead): Promise<void> {
    const { piece, into } = entry;
    const end = piece.offsetInData + piece.length;
    const member = this.core.slots[piece.slot]!.reader(piece.offsetInData, end);
    if (member !== null) {
      await member.read(piece.offsetInData, into);
      return;
    }
    await this.reconstruct(entry);
    if (!this.core.readOnly) await this.correct(piece);
  }

  /** Makes a piece from the rest of its rows; where only parts of it are unreadable, only those. */
  private async reconstruct({ piece, into }: PieceRead): Promise<void> {
    const window = [this.core.windowOf(piece.offsetInData)];
    await this.core.locks.acquire(window, 'shared');
    try {
      await this.fill(piece, into);
    } finally {
      this.core.locks.release(window);
    }
  }

  /** The window's lock is held. */
  private async fill(piece: Piece, into: Uint8Array): Promise<void> {
    const slot = this.core.slots[piece.slot]!;
    const { offsetInData: from, length } = piece;
    for (const [start, end] of this.spans(piece)) {
      const bytes = into.subarray(start - from, end - from);
      for (;;) {
        const reader = slot.reader(start, end);
        const failures =
          reader === null
            ? await this.fillFromOthers(piece, start, end, bytes)
            : await readTransfers([{ member: reader, start, bytes }]);
        if (failures.length === 0) break;
        await this.faults.settleReads(failures);
      }
    }
    if (length > 0) this.core.counters.reconstructedReads++;
  }

  private async fillFromOthers(piece: Piece, start: number, end: number, bytes: Uint8Array) {
    const others = this.core.slots.filter((slot) => slot.index !== piece.slot);
    const readers = others.map((slot) => slot.reader(start, end));
    if (readers.some((reader) => reader === null)) throw this.unavailable(piece, start, end);
    const length = end - start;
    const memory = await this.core.arena.acquire(length * readers.length);
    try {
      const transfers = readers.map((reader, index) => ({
        member: reader as ArrayMember,
        start,
        bytes: memory.bytes.subarray(index * length, (index + 1) * length),
      }));
      const failures = await readTransfers(transfers);
      if (failures.length === 0)
        xorOf(
          bytes,
          transfers.map((transfer) => transfer.bytes),
        );
      return failures;
    } finally {
      memory.release();
    }
  }

  /**
   * Cuts a piece where it changes who can be read: one bad sector of the piece's own member must not hang on
   * a bad sector that another member has elsewhere in the piece.
   */
  private spans(piece: Piece): [number, number][] {
    const start = piece.offsetInData;
    const end = start + piece.length;
    const cuts = new Set([start, end]);
    for (const slot of this.core.slots) {
      for (const member of slot.writers()) {
        for (const at of member.boundaries(start, end)) cuts.add(at);
      }
    }
    const sorted = [...cuts].sort((a, b) => a - b);
    return sorted.slice(1).map((cut, index) => [sorted[index]!, cut]);
  }

  private unavailable(piece: Piece, start: number, end: number): UserError {
    const lost = this.core.slots.filter((slot) => slot.reader(start, end) === null).map((slot) => slot.index);
    const arrayOffset = piece.arrayOffset + (start - piece.offsetInData);
    return new UserError(
      'DATA_UNAVAILABLE',
      `${this.core.name}: ${end - start} bytes at offset ${arrayOffset} cannot be read: the members in slots ${lost.join(' and ')} are missing or unreadable there, and RAID-5 makes good for one alone`,
      {
        hint: 'restore one of these members, or write the range anew; everything else reads well',
        details: { offsetBytes: arrayOffset, lengthBytes: end - start, slots: lost },
      },
    );
  }

  /**
   * Gives a member back what it could not read. It is read again afterwards: a member that does not hold
   * what it was given is faulty.
   */
  private async correct(piece: Piece): Promise<void> {
    const window = [this.core.windowOf(piece.offsetInData)];
    await this.core.locks.acquire(window, 'exclusive');
    try {
      const member = this.core.slots[piece.slot]!.member;
      const bad = member?.unreadable.within(piece.offsetInData, piece.offsetInData + piece.length) ?? [];
      if (member === null || member.isFaulty) return;
      for (const { start, end } of bad) {
        const bytes = new Uint8Array(end - start);
        // Under the exclusive lock, as a write may have come in between.
        await this.fill({ ...piece, offsetInData: start, length: end - start }, bytes);
        const transfer = { member, start, bytes };
        const failures = [...(await writeTransfers([transfer], {})), ...(await readTransfers([transfer]))];
        if (failures.length > 0) {
          await this.faults.settleWrites(failures);
          return;
        }
        this.metadata.heal(member, start, end);
        this.core.counters.correctedReads++;
        this.core.warn(
          `${member.image}: ${end - start} bytes at offset ${member.superblock.dataOffset + start} were made anew`,
        );
      }
    } finally {
      this.core.locks.release(window);
    }
  }
}
