/**
 * Flags kept on the storage that has the data (paragraphs 29 and 31): in journal extents of their own, never inside one
 * that holds data. They come from the pool as all journal extents do.
 *
 * How they are found again: the server knows them as journal extents of the file, with flags that say nothing. What
 * was written always marks or clears a block, so no other has such flags. Their places in the file are the last ones that
 * there can be, from the end on; where something was written there, the ones before.
 *
 * Invariants
 * - They are written and flushed before the server knows them, and it knows all of them before it is told the number.
 * - Each says which extent it lies in, which part of how many, and the number: what an earlier life left in an extent, or
 *   somebody has copied there, is none.
 */
import { crc32c } from '@node-rs/crc32';
import type { BlockDevice } from '../../device/contract.js';
import { UserError } from '../../errors.js';
import { noBits } from '../../metadata/bits.js';
import { roundUp } from '../../metadata/engine/layout.js';
import { newKeptName, saysNothing } from '../../metadata/flag-places.js';
import { type KeptJournal, MOST_FILE_EXTENTS } from '../../metadata/messages.js';
import { UncheckedBytes } from '../../structure.js';
import type { ClientPool } from '../contract.js';
import type { JournalReserve } from '../journal-reserve.js';
import type { Session } from '../session.js';
import { sendFlags } from './at-metadata.js';
import {
  decodeHeader,
  decodeRecords,
  encodeKept,
  encodeRecords,
  fromLater,
  HEADER_BYTES,
  type Owner,
} from './codec.js';
import type { Asked, FlagsPlace, FoundFlags, KeptRecord } from './contract.js';
import { judged } from './judged.js';

export interface DataFlagsParts {
  readonly session: Session;
  readonly pool: ClientPool;
  readonly reserve: JournalReserve;
  readonly extentBytes: number;
}

type Part =
  | { readonly content: Uint8Array; readonly part: number; readonly parts: number }
  | { readonly bad: string }
  | { readonly later: string };

export class DataFlags implements FlagsPlace {
  readonly #owner: Owner;
  readonly #contentBytes: number;

  constructor(
    owner: Omit<Owner, 'place'>,
    private readonly parts: DataFlagsParts,
  ) {
    this.#owner = { ...owner, place: 'data' };
    this.#contentBytes = parts.extentBytes - HEADER_BYTES;
  }

  async put(record: KeptRecord, flagsExtents: number[]): Promise<number> {
    const number = newKeptName('data');
    const content = encodeRecords([{ number, record }], this.#owner.blocksPerExtent);
    const count = Math.ceil(content.byteLength / this.#contentBytes);
    flagsExtents.push(...(await this.parts.reserve.takeMakingRoom({ count, file: record.file })));
    await this.#write(flagsExtents, content, number);
    await this.#tellServer(record, flagsExtents);
    return number;
  }

  async gone(_file: number, flagsExtents: readonly number[]): Promise<void> {
    const { session, reserve } = this.parts;
    await session.disassociate(flagsExtents);
    reserve.returned(flagsExtents);
  }

  async find({ file, number, journal }: Asked): Promise<FoundFlags> {
    const found = new Map<number, { readonly extent: number; readonly content: Uint8Array }>();
    const faults: string[] = [];
    let parts = 0;
    for (const { extent } of journal.filter(holdsFlags)) {
      let part: Part;
      try {
        part = await this.#read(extent, number);
      } catch (cause) {
        // Its target may come back.
        if (cause instanceof UserError) return { away: cause };
        throw cause;
      }
      if ('later' in part)
        return { away: fromLater(`the flags in journal extent ${extent}`, part.later, { extent }) };
      if ('bad' in part) faults.push(` (extent ${extent}: ${part.bad})`);
      else {
        parts = part.parts;
        found.set(part.part, { extent, content: part.content });
      }
    }
    const lost = (what: string) => ({ lost: `${what}${faults.join('')}` });
    if (parts === 0 || found.size !== parts) return lost('its flags on the storage are not whole');
    const ordered = Array.from({ length: parts }, (_, part) => found.get(part)!);
    const content = new Uint8Array(Buffer.concat(ordered.map((one) => one.content)));
    const records = decodeRecords(new UncheckedBytes(content, 0), this.#owner.blocksPerExtent);
    const own = records?.find(({ record }) => record.file === file);
    if (own?.number !== number) return lost('its flags on the storage say what cannot be');
    const flagsExtents = ordered.map(({ extent }) => extent);
    return judged({ ...own.record, where: 'data', flagsExtents }, journal);
  }

  async #write(extents: readonly number[], content: Uint8Array, number: number): Promise<void> {
    const { pool } = this.parts;
    const devices = new Set<BlockDevice>();
    for (const [part, extent] of extents.entries()) {
      const from = part * this.#contentBytes;
      const header = { sequence: number, liesIn: extent, part, parts: extents.length };
      const bytes = encodeKept(this.#owner, header, content.subarray(from, from + this.#contentBytes));
      const whole = new Uint8Array(roundUp(bytes.byteLength, pool.blockBytes));
      whole.set(bytes);
      const { device, offsetBytes } = pool.locate(extent);
      await device.write(offsetBytes, whole);
      devices.add(device);
    }
    for (const device of devices) await device.flush();
  }

  /** They are the file's from now on, and hold flags. */
  async #tellServer({ file, extents }: KeptRecord, flagsExtents: readonly number[]): Promise<void> {
    const { client, blocksPerExtent } = this.#owner;
    const taken = new Set(extents.map(({ index }) => index));
    const none = noBits(blocksPerExtent);
    let index = MOST_FILE_EXTENTS;
    const nextFree = () => {
      do index -= 1;
      while (taken.has(index));
      return index;
    };
    const marks = flagsExtents.map((journal) => ({
      ...{ file, index: nextFree(), journal, marked: none, cleared: none },
    }));
    await sendFlags(this.parts.session, client, marks);
  }

  async #read(extent: number, number: number): Promise<Part> {
    const { pool } = this.parts;
    const { device, offsetBytes } = pool.locate(extent);
    const first = new Uint8Array(pool.blockBytes);
    await device.read(offsetBytes, first);
    const header = decodeHeader(new UncheckedBytes(first, offsetBytes), this.#owner, extent);
    if (!('good' in header)) return header;
    const { sequence, part, parts, contentBytes, contentChecksum } = header.good;
    if (sequence !== number) return { bad: 'they are of another time' };
    if (contentBytes > this.#contentBytes) return { bad: 'they are longer than an extent' };
    const bytes = new Uint8Array(
      Math.ceil((HEADER_BYTES + contentBytes) / pool.blockBytes) * pool.blockBytes,
    );
    await device.read(offsetBytes, bytes);
    const content = bytes.subarray(HEADER_BYTES, HEADER_BYTES + contentBytes);
    return crc32c(content) === contentChecksum
      ? { content, part, parts }
      : { bad: 'their content is damaged' };
  }
}

function holdsFlags({ flags }: KeptJournal): boolean {
  return flags !== null && saysNothing(flags);
}
