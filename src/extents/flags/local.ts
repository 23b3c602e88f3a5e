/**
 * Flags kept in a file on the client's machine (the local storage, or NVRAM, of paragraphs 29 and 31). The server sees
 * which journal extents belong to which places, and nothing of what is in them.
 *
 * The file is two slots, each with room for the flags of the whole pool, and a slot has the flags of all files of which
 * something is kept.
 *
 * Invariants
 * - The older slot is written, as a whole, and flushed before anybody relies on it: the newer one stays what it is until
 *   then. A write that was torn leaves that one, with the flags of all other files.
 * - Of two whole slots the one with the higher sequence counts; and of that, what has the number that the server keeps. So
 *   an older slot, or an older copy of the file, is never taken for what is kept now.
 */
import { crc32c } from '@node-rs/crc32';
import type { BlockDevice } from '../../device/contract.js';
import { UserError } from '../../errors.js';
import { bitmapBytes } from '../../metadata/bits.js';
import { roundUp } from '../../metadata/engine/layout.js';
import { newKeptName } from '../../metadata/flag-places.js';
import { UncheckedBytes } from '../../structure.js';
import {
  decodeHeader,
  decodeRecords,
  encodeKept,
  encodeRecords,
  fromLater,
  HEADER_BYTES,
  type NumberedRecord,
  type Owner,
} from './codec.js';
import type { Asked, FlagsPlace, FoundFlags, KeptRecord, LocalFlagsFile } from './contract.js';
import { KEPT_EXTENT, KEPT_FILE } from './fields.js';
import { judged } from './judged.js';

/** By file. */
type Records = ReadonlyMap<number, NumberedRecord>;

interface Slots {
  readonly device: BlockDevice | null;
  /** Of the slot that counts; -1: there is none. */
  newest: number;
  sequence: number;
  records: Records;
  /** Why a slot is no good. */
  readonly faults: readonly string[];
  readonly later: string | null;
}

const SLOTS = 2;
const SLOT_UNIT_BYTES = 4096;
/** Room for files of which the size alone changes. */
const SLACK_BYTES = 64 * 1024;

/** Of a slot with room for the flags of so many extents. */
export function slotBytes(extents: number, blocksPerExtent: number): number {
  const ofExtent = KEPT_FILE.sizeBytes + KEPT_EXTENT.sizeBytes + 2 * bitmapBytes(blocksPerExtent);
  const bytes = HEADER_BYTES + SLACK_BYTES + extents * ofExtent;
  return roundUp(bytes, SLOT_UNIT_BYTES);
}

export class LocalFlags implements FlagsPlace {
  readonly #owner: Owner;
  readonly #slotBytes: number;
  #loaded: Promise<Slots> | null = null;
  /** Those that count: others that a slot has are of what is gone, and go with the next writing. */
  readonly #live = new Map<number, NumberedRecord>();
  #turn: Promise<unknown> = Promise.resolve();

  constructor(
    owner: Omit<Owner, 'place'>,
    extents: number,
    /** null: this client has no place for one. */
    private readonly file: LocalFlagsFile | null,
  ) {
    this.#owner = { ...owner, place: 'local' };
    this.#slotBytes = slotBytes(extents, owner.blocksPerExtent);
  }

  put(record: KeptRecord): Promise<number> {
    return this.#inTurn(async () => {
      const slots = await this.#slots();
      const number = newKeptName('local');
      await this.#write(slots, new Map(this.#live).set(record.file, { number, record }));
      this.#live.set(record.file, { number, record });
      return number;
    });
  }

  gone(file: number): Promise<void> {
    return this.#inTurn(async () => {
      const slots = await this.#slots();
      if (this.#live.delete(file)) await this.#write(slots, this.#live);
    });
  }

  async find({ file, number, journal }: Asked): Promise<FoundFlags> {
    let slots: Slots;
    try {
      slots = await this.#slots();
    } catch (cause) {
      // It may be there another time.
      if (cause instanceof UserError) return { away: cause };
      throw cause;
    }
    const { name } = this.file!;
    if (slots.device === null) return { lost: `${name} is not there` };
    const found = slots.records.get(file);
    if (found?.number === number) {
      this.#live.set(file, found);
      return judged({ ...found.record, where: 'local', flagsExtents: [] }, journal);
    }
    if (slots.later !== null) return { away: fromLater(`${name}: its flags`, slots.later, { file: name }) };
    const faults = slots.faults.map((fault) => ` (${fault})`).join('');
    return { lost: `${name} has no flags that belong to it${faults}` };
  }

  #slots(): Promise<Slots> {
    this.#loaded ??= this.#load().catch((cause: unknown) => {
      this.#loaded = null;
      throw cause;
    });
    return this.#loaded;
  }

  async #load(): Promise<Slots> {
    if (this.file === null) throw noPlace();
    const device = await this.file.open();
    const slots = { device, newest: -1, sequence: 0, records: new Map() };
    if (device === null) return { ...slots, faults: [], later: null };
    const isWhole = device.size === SLOTS * this.#slotBytes;
    const faults = isWhole ? [] : [`it has ${device.size} bytes, not ${SLOTS * this.#slotBytes}`];
    const found: Slots = { ...slots, faults, later: null };
    return isWhole ? await this.#read(device, found) : found;
  }

  async #read(device: BlockDevice, slots: Slots): Promise<Slots> {
    const faults: string[] = [];
    let { newest, sequence, records, later } = slots;
    for (let slot = 0; slot < SLOTS; slot++) {
      const found = await this.#readSlot(device, slot);
      if ('later' in found) later = found.later;
      else if ('bad' in found) faults.push(`slot ${slot}: ${found.bad}`);
      else if (found.sequence > sequence) {
        newest = slot;
        ({ sequence, records } = found);
      }
    }
    return { device, newest, sequence, records, later, faults };
  }

  async #readSlot(
    device: BlockDevice,
    slot: number,
  ): Promise<Pick<Slots, 'sequence' | 'records'> | { readonly bad: string } | { readonly later: string }> {
    const at = slot * this.#slotBytes;
    const bytes = new Uint8Array(HEADER_BYTES);
    await device.read(at, bytes);
    const header = decodeHeader(new UncheckedBytes(bytes, at), this.#owner, slot);
    if (!('good' in header)) return header;
    const { contentBytes, contentChecksum, sequence } = header.good;
    if (contentBytes > this.#slotBytes - HEADER_BYTES) return { bad: 'they are longer than a slot' };
    const content = new Uint8Array(roundUp(contentBytes, HEADER_BYTES));
    await device.read(at + HEADER_BYTES, content);
    const own = content.subarray(0, contentBytes);
    if (crc32c(own) !== contentChecksum) return { bad: 'their content is torn' };
    const records = decodeRecords(new UncheckedBytes(own, at + HEADER_BYTES), this.#owner.blocksPerExtent);
    if (records === null) return { bad: 'they say what cannot be' };
    return { sequence, records: new Map(records.map((one) => [one.record.file, one])) };
  }

  /** Into the slot that does not count, durably. */
  async #write(slots: Slots, records: Records): Promise<void> {
    const content = encodeRecords([...records.values()], this.#owner.blocksPerExtent);
    if (content.byteLength > this.#slotBytes - HEADER_BYTES) throw this.#full(content.byteLength);
    const device = slots.device ?? (await this.file!.make(SLOTS * this.#slotBytes));
    if (device.size !== SLOTS * this.#slotBytes || slots.later !== null) throw this.#notOurs();
    const slot = slots.newest === 0 ? 1 : 0;
    const sequence = slots.sequence + 1;
    const bytes = encodeKept(this.#owner, { sequence, liesIn: slot, part: 0, parts: 1 }, content);
    const whole = new Uint8Array(roundUp(bytes.byteLength, HEADER_BYTES));
    whole.set(bytes);
    await device.write(slot * this.#slotBytes, whole);
    await device.flush();
    const written = { device, newest: slot, sequence, records: new Map(records) };
    this.#loaded = Promise.resolve({ ...written, faults: [], later: null });
  }

  /** Who writes has read what counts. */
  #inTurn<T>(body: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(body);
    this.#turn = turn.catch(() => {});
    return turn;
  }

  #full(contentBytes: number): UserError {
    const { name } = this.file!;
    return new UserError('NO_SPACE', `${name} has no room for flags of ${contentBytes} bytes`, {
      hint: 'Commit or discard what is kept, or keep it elsewhere (--flags metadata, --flags data).',
      details: { file: name, neededBytes: contentBytes },
    });
  }

  #notOurs(): UserError {
    const { name } = this.file!;
    return new UserError('REFUSED', `${name} is no file for the flags of this volume`, {
      hint: 'Move it away, or keep the flags elsewhere (--flags metadata, --flags data).',
      details: { file: name },
    });
  }
}

function noPlace(): UserError {
  return new UserError('UNSUPPORTED', 'there is no place for flags in a local file here', {
    hint: 'Name the volume by its directory: the file lies there. Or keep the flags elsewhere (--flags metadata, --flags data).',
  });
}
