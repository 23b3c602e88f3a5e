/**
 * Reads from an array.
 *
 * What a good member holds is read from it, without locks: nobody may be writing there at the same time. What
 * cannot be read (the member is missing, not rebuilt yet, or has bad blocks there) is made from all the other
 * members of its rows, and for that the rows must stand still: shared locks. A read that fails is made good
 * the same way, and where the array is open for writing the member is given its content back.
 */

import { bufferList, scatter } from '../device/buffers.js';
import type { Buffers } from '../device/contract.js';
import { UserError } from '../errors.js';
import type { ArrayCore } from './core.js';
import type { Faults } from './faults.js';
import type { Piece } from './geometry.js';
import type { ArrayMember } from './member.js';
import type { ArrayMetadata } from './metadata.js';
import { xorOf } from './parity/index.js';
import { readTransfers, type Transfer, type TransferFailure, writeTransfers } from './transfers.js';

/** A piece of the array and the bytes that it is to be read into. */
interface PieceRead {
  readonly piece: Piece;
  readonly into: Uint8Array;
}

/** Several that follow one another on one member, as one of whole sectors: buffers may have any length. */
interface JoinedRead extends PieceRead {
  /** What `into` goes to when it has been read. */
  readonly parts: readonly Uint8Array[];
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
    for (const { piece, into: bytes } of this.pieces(offset, into)) {
      const { slot, offsetInData: start, length } = piece;
      const member = this.core.slots[slot]!.reader(start, start + length);
      if (member === null) degraded.push({ piece, into: bytes });
      else direct.push({ piece, into: bytes, transfer: { member, start, bytes } });
    }
    const transfers = direct.map((entry) => entry.transfer);
    const failures = await (degraded.length === 0
      ? readTransfers(transfers)
      : this.readBeside(transfers, degraded));
    if (failures.length === 0) return;
    await this.faults.settleReads(failures);
    const again = direct.filter(({ transfer }) =>
      failures.some(
        ({ member, start, length }) =>
          member === transfer.member && start <= transfer.start && transfer.start < start + length,
      ),
    );
    for (const joined of this.joined(again)) await this.readAround(joined);
  }

  /** The transfers, and beside them what has to be made from other members. */
  private async readBeside(
    transfers: readonly Transfer[],
    degraded: readonly PieceRead[],
  ): Promise<TransferFailure[]> {
    const [failures, outcomes] = await Promise.all([
      readTransfers(transfers),
      Promise.allSettled(this.joined(degraded).map((entry) => this.reconstruct(entry))),
    ]);
    for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
    return failures;
  }

  private pieces(offset: number, into: Buffers): PieceRead[] {
    const reads: PieceRead[] = [];
    let arrayOffset = offset;
    for (const bytes of bufferList(into)) {
      for (const piece of this.core.windowPieces(arrayOffset, bytes.length)) {
        const at = piece.arrayOffset - arrayOffset;
        const isAll = piece.length === bytes.length;
        reads.push({ piece, into: isAll ? bytes : bytes.subarray(at, at + piece.length) });
      }
      arrayOffset += bytes.length;
    }
    return reads;
  }

  /** In the order in which they lie. Nothing is joined over the boundary of a window, whose lock it is read under. */
  private joined(reads: readonly PieceRead[]): JoinedRead[] {
    const runs: PieceRead[][] = [];
    for (const read of reads) {
      const run = runs.at(-1);
      const last = run?.at(-1)?.piece;
      if (last !== undefined && this.goesOn(last, read.piece)) run!.push(read);
      else runs.push([read]);
    }
    return runs.map(joined);
  }

  private goesOn(last: Piece, next: Piece): boolean {
    return (
      last.slot === next.slot &&
      last.arrayOffset + last.length === next.arrayOffset &&
      last.offsetInData + last.length === next.offsetInData &&
      this.core.windowOf(last.offsetInData) === this.core.windowOf(next.offsetInData)
    );
  }

  /** A piece of which some sectors could not be read: those are made from the other members. */
  private async readAround(entry: JoinedRead): Promise<void> {
    await this.reconstruct(entry);
    if (!this.core.readOnly) await this.correct(entry.piece);
  }

  /** Makes a piece from the rest of its rows; where only parts of it are unreadable, only those. */
  private async reconstruct({ piece, into, parts }: JoinedRead): Promise<void> {
    const window = [this.core.windowOf(piece.offsetInData)];
    await this.core.locks.acquire(window, 'shared');
    try {
      await this.fill(piece, into);
    } finally {
      this.core.locks.release(window);
    }
    if (parts.length > 1) scatter(into, parts, 0);
  }

  /** The window's lock is held. */
  private async fill(piece: Piece, into: Uint8Array): Promise<void> {
    const { offsetInData: from, length } = piece;
    for (const { start, end } of this.core.spans(from, from + length)) {
      const part = {
        ...piece,
        arrayOffset: piece.arrayOffset + (start - from),
        offsetInData: start,
        length: end - start,
      };
      await this.fillSpan(part, into.subarray(start - from, end - from));
    }
    this.core.counters.reconstructedReads++;
  }

  /** A read that fails leaves bad sectors behind, and the span is no span any more. */
  private async fillSpan(part: Piece, bytes: Uint8Array): Promise<void> {
    const { offsetInData: start, length } = part;
    const reader = this.core.slots[part.slot]!.reader(start, start + length);
    const failures =
      reader === null
        ? await this.fillFromOthers(part, bytes)
        : await readTransfers([{ member: reader, start, bytes }]);
    if (failures.length === 0) return;
    await this.faults.settleReads(failures);
    await this.fill(part, bytes);
  }

  private async fillFromOthers(part: Piece, bytes: Uint8Array): Promise<TransferFailure[]> {
    const { offsetInData: start, length } = part;
    const others = this.core.slots.filter((slot) => slot.index !== part.slot);
    const readers = others.map((slot) => slot.reader(start, start + length));
    if (readers.some((reader) => reader === null)) throw this.unavailable(part);
    // Where nobody named what is suspect, who only looks reads what is there, and is told; who writes would make it true.
    const isRefused = !this.core.readOnly || this.core.isDoubtKnown;
    if (isRefused && !this.core.parityTrusted(start, start + length)) throw this.inDoubt(part);
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

  private unavailable({ arrayOffset, offsetInData: start, length }: Piece): UserError {
    const unreadable = this.core.slots.filter((slot) => slot.reader(start, start + length) === null);
    const slots = unreadable.map((slot) => slot.index);
    return new UserError(
      'DATA_UNAVAILABLE',
      `${this.core.name}: ${length} bytes at offset ${arrayOffset} cannot be read: the members in slots ${slots.join(' and ')} are missing or unreadable there, and RAID-5 makes good for one alone`,
      {
        hint: 'restore one of these members, or write the range anew; everything else reads well',
        details: { offsetBytes: arrayOffset, lengthBytes: length, slots },
      },
    );
  }

  private inDoubt({ arrayOffset, length, slot }: Piece): UserError {
    return new UserError(
      'DATA_UNAVAILABLE',
      `${this.core.name}: ${length} bytes at offset ${arrayOffset} are in doubt: the member in slot ${slot} is missing or unreadable there, and a write of these rows was cut short, so that the others do not tell what it held`,
      {
        hint: 'bring that member back, or write the range anew; everything else reads well',
        details: { offsetBytes: arrayOffset, lengthBytes: length, slots: [slot] },
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

function joined(run: readonly PieceRead[]): JoinedRead {
  const [{ piece, into }] = run as [PieceRead];
  const parts = run.map((read) => read.into);
  if (run.length === 1) return { piece, into, parts };
  const length = run.reduce((sum, read) => sum + read.piece.length, 0);
  return { piece: { ...piece, length }, into: new Uint8Array(length), parts };
}
