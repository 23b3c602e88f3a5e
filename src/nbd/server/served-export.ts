/**
 * An export while it is served: its sizes and flags as they are told to clients, its contexts, and what all its
 * connections share (the order of overlapping requests, the counters).
 */
import { UserError } from '../../errors.js';
import { MAX_MIN_BLOCK_BYTES, MAX_STRING_BYTES, TRANSMISSION_FLAGS } from '../protocol/constants.js';
import type { BlockSizes, ListedExport } from '../protocol/option-data.js';
import { Counters, type ExportStatus } from './counters.js';
import type { CacheMode, Export, ExportExtension } from './export.js';
import { OrderedDevice } from './ordered-device.js';
import { allocationOf, type StatusContext } from './status-contexts.js';

const PREFERRED_BLOCK_BYTES = 4096;
const MAX_PAYLOAD_BYTES = 64 * 1024 * 1024;

export class ServedExport {
  readonly listed: ListedExport;
  readonly size: number;
  readonly readOnly: boolean;
  readonly cache: CacheMode;
  readonly zeroesFast: boolean;
  readonly sizes: BlockSizes;
  readonly device: OrderedDevice;
  readonly extensions: ReadonlyMap<number, ExportExtension>;
  readonly counters: Counters;
  /** Connections in the transmission phase, and all that were. */
  readonly uses: { now: number; ever: number };
  readonly #canMultiConn: boolean;
  readonly #allocation: StatusContext;
  readonly #others: () => readonly StatusContext[];

  /**
   * `shown`: the export that it is to all but one connection, and counts as.
   *
   * @throws UserError USAGE for a name or sizes that the protocol has no way to tell.
   */
  constructor(given: Export, shown: ServedExport | null = null) {
    const { device } = given;
    this.listed = { name: given.name, description: given.description ?? '' };
    this.size = device.size;
    this.readOnly = device.readOnly || given.readOnly === true;
    this.cache = given.cache ?? 'writeback';
    this.zeroesFast = given.zeroesFast ?? false;
    this.counters = shown?.counters ?? new Counters();
    this.uses = shown?.uses ?? { now: 0, ever: 0 };
    this.extensions = given.extensions ?? new Map();
    this.#canMultiConn = given.canMultiConn ?? true;
    this.device = new OrderedDevice(device);
    this.#allocation = allocationOf(device);
    this.#others = given.contexts ?? (() => []);
    const minimum = given.minimumBlockBytes ?? device.blockSize;
    this.sizes = {
      minimum,
      preferred: given.preferredBlockBytes ?? Math.max(PREFERRED_BLOCK_BYTES, minimum),
      maximumPayload: given.maximumPayloadBytes ?? MAX_PAYLOAD_BYTES,
    };
    checkNames([given.name, ...this.contexts.map(({ name }) => name)]);
    checkSizes(this.sizes);
  }

  /** base:allocation, and those that there are now of its own. */
  get contexts(): readonly StatusContext[] {
    return [this.#allocation, ...this.#others()];
  }

  /** Of NBD_INFO_EXPORT; what needs structured replies is offered to those who agreed on them. */
  transmissionFlags(structured: boolean): number {
    const flags = TRANSMISSION_FLAGS;
    const changes =
      flags.NBD_FLAG_SEND_TRIM | flags.NBD_FLAG_SEND_WRITE_ZEROES | flags.NBD_FLAG_SEND_FAST_ZERO;
    return (
      flags.NBD_FLAG_HAS_FLAGS |
      flags.NBD_FLAG_SEND_FLUSH |
      flags.NBD_FLAG_SEND_FUA |
      flags.NBD_FLAG_SEND_CACHE |
      (this.readOnly ? flags.NBD_FLAG_READ_ONLY : changes) |
      (structured ? flags.NBD_FLAG_SEND_DF : 0) |
      (this.#canMultiConn ? flags.NBD_FLAG_CAN_MULTI_CONN : 0)
    );
  }

  status(): ExportStatus {
    const { size, readOnly, uses, counters } = this;
    return {
      ...{ name: this.listed.name, size, readOnly, counters },
      ...{ connections: uses.now, connectionsEver: uses.ever },
    };
  }
}

function checkNames(names: readonly string[]): void {
  const bad = names.find((name) => Buffer.byteLength(name) > MAX_STRING_BYTES || name.includes('\0'));
  if (bad !== undefined)
    throw new UserError('USAGE', `"${bad.slice(0, 64)}..." cannot be a name in NBD`, {
      hint: `A name has at most ${MAX_STRING_BYTES} bytes, and no NUL.`,
    });
}

/** As "Size constraints" of proto.md has them. */
function checkSizes({ minimum, preferred, maximumPayload }: BlockSizes): void {
  const isPower = (bytes: number) => bytes > 0 && Number.isInteger(Math.log2(bytes));
  const isGood =
    isPower(minimum) &&
    minimum <= MAX_MIN_BLOCK_BYTES &&
    isPower(preferred) &&
    preferred >= Math.max(minimum, 512) &&
    maximumPayload >= Math.max(preferred, 1024 * 1024) &&
    maximumPayload < 2 ** 32;
  if (!isGood)
    throw new UserError(
      'USAGE',
      `block sizes of ${minimum} (minimum), ${preferred} (preferred) and ${maximumPayload} bytes (payload) cannot be served over NBD`,
      {
        hint: 'The first two are powers of two, the minimum at most 65536, the preferred at least that and 512; the payload is at least 1 MiB.',
      },
    );
}
