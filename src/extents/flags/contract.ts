/**
 * The places in which a client keeps the flags of what is not committed (data journaling, paragraphs 29 and 31), behind
 * one interface: at-metadata.ts, local.ts, data.ts.
 *
 * What all of them promise
 * - A record comes back whole or not at all. `put` has made it durable when it answers, and still it does not count: the
 *   metadata server is told its number after that (keeping.ts), and until then nothing of it is found.
 * - It counts no more as soon as the server has the number no more. That comes before anything is written to its journal
 *   extents, or together with the commit; `gone` comes after it, and only tidies up.
 * - What is found is the record of that very number, and all journal extents that it names are the client's still,
 *   associated as it says. Else it is lost, as a whole, and who opens says so.
 */
import type { BlockDevice } from '../../device/contract.js';
import type { UserError } from '../../errors.js';
import type { FlagPlace } from '../../metadata/flag-places.js';
import type { ExtentFlags, KeptJournal } from '../../metadata/messages.js';

/** The local file of a client, wherever it is. Who gives it closes it. */
export interface LocalFlagsFile {
  readonly name: string;
  /** null: it is not there. */
  open(): Promise<BlockDevice | null>;
  /** Made at its full size, durably, all zeroes. */
  make(sizeBytes: number): Promise<BlockDevice>;
}

export interface FlagsOptions {
  /** 32 hexadecimal digits. */
  readonly volumeUuid: string;
  /** Where flags are kept unless said otherwise. */
  readonly where: FlagPlace;
  /** null: there is no place for it. */
  readonly local: LocalFlagsFile | null;
}

export type KeptExtent = Omit<ExtentFlags, 'journal'> & { readonly journal: number };

/** What is kept of a file. */
export interface KeptRecord {
  readonly file: number;
  /** After the commit. */
  readonly sizeBytes: number;
  readonly extents: readonly KeptExtent[];
}

export interface KeptFile extends KeptRecord {
  readonly where: FlagPlace;
  /** Journal extents that hold the flags themselves. */
  readonly flagsExtents: readonly number[];
}

export interface Asked {
  readonly file: number;
  /** What the server keeps of the file. */
  readonly number: number;
  /** The client's journal extents that are associated with the file. */
  readonly journal: readonly KeptJournal[];
}

export type FoundFlags =
  | { readonly kept: KeptFile }
  /** They are not what was kept, and never will be: why. */
  | { readonly lost: string }
  /** They may be had another time: what keeps them away. */
  | { readonly away: UserError };

export interface FlagsPlace {
  /**
   * Durable when it answers, with the number that the server is to keep. Journal extents that hold flags are added to
   * `flagsExtents` before they are used: whatever fails, they are the caller's to give back.
   */
  put(record: KeptRecord, flagsExtents: number[]): Promise<number>;
  /** The server has the number no more. */
  gone(file: number, flagsExtents: readonly number[]): Promise<void>;
  find(asked: Asked): Promise<FoundFlags>;
}
