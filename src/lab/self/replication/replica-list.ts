/** Stands for the list of replicas, a file that is replaced by a new one, durably: as there, it is the old or the new. */
import type { BlockDevice } from '../../../device/contract.js';

export const SECTOR_BYTES = 512;
export const SECONDARIES = ['second', 'third'] as const;
export type SecondaryName = (typeof SECONDARIES)[number];

const MAGIC = 0x4c;
const HEADER_BYTES = 2;

export interface ReplicaEntry {
  readonly isWhole: boolean;
  readonly isMapLost: boolean;
}

type Entries = Readonly<Partial<Record<SecondaryName, ReplicaEntry>>>;

export class ReplicaList {
  static readonly bytes = 2 * SECTOR_BYTES;
  #sequence = 0;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(private readonly device: BlockDevice) {}

  async read(): Promise<Entries> {
    const bytes = new Uint8Array(ReplicaList.bytes);
    await this.device.read(0, bytes);
    const good = [0, SECTOR_BYTES]
      .map((at) => bytes.subarray(at, at + SECTOR_BYTES))
      .filter((sector) => sector[0] === MAGIC && isEmpty(sector.subarray(HEADER_BYTES + SECONDARIES.length)));
    const [newest] = good.sort((a, b) => b[1]! - a[1]!);
    if (newest === undefined && !isEmpty(bytes)) throw new Error('the list of replicas is gone');
    this.#sequence = newest?.[1] ?? 0;
    const entries = SECONDARIES.flatMap((name, at) => {
      const entry = decode(newest?.[HEADER_BYTES + at] ?? 0);
      return entry === null ? [] : [[name, entry]];
    });
    return Object.fromEntries(entries) as Entries;
  }

  /** Changes of it one after another, as replicas-file.ts has them. */
  put(name: SecondaryName, entry: ReplicaEntry): Promise<void> {
    const turn = this.#turn.then(() => this.#put(name, entry));
    this.#turn = turn.catch(() => {});
    return turn;
  }

  async #put(name: SecondaryName, entry: ReplicaEntry): Promise<void> {
    const entries = { ...(await this.read()), [name]: entry };
    this.#sequence += 1;
    const sector = new Uint8Array(SECTOR_BYTES);
    sector.set([MAGIC, this.#sequence, ...SECONDARIES.map((each) => encode(entries[each]))]);
    await this.device.write((this.#sequence % 2) * SECTOR_BYTES, sector, { fua: true });
  }
}

/** 0: it is not in it. */
function encode(entry: ReplicaEntry | undefined): number {
  return entry === undefined ? 0 : 1 | (Number(entry.isWhole) << 1) | (Number(entry.isMapLost) << 2);
}

function decode(byte: number): ReplicaEntry | null {
  return byte === 0 ? null : { isWhole: (byte & 2) !== 0, isMapLost: (byte & 4) !== 0 };
}

function isEmpty(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 0);
}
