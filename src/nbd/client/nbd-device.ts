/**
 * An NBD export as a block device.
 *
 * Calls are cut at what the server takes at once, go out side by side, and survive the server (session.ts). What a
 * server cannot do is done without it: zeroes are written, fua is a write and a flush (changes.ts), a trim is
 * ignored, what block status does not tell is data.
 *
 * Invariants
 * - Offsets and lengths on the wire are multiples of the server's minimum block, because `blockSize` is.
 * - A call that fails has ended: none of its pieces is in flight any more, and its buffers are its caller's.
 * - When it has failed for good it takes no call any more, and `unflushedRanges` tells what is in doubt.
 *
 * One connection is used, whatever the server says of several (NBD_FLAG_CAN_MULTI_CONN).
 */
import { byteLength, sliceBuffers } from '../../device/buffers.js';
import { CallGuard } from '../../device/call-guard.js';
import type { BlockDevice, Buffers, DeviceError, Extent, WriteOptions } from '../../device/contract.js';
import { isNoSpace, toDeviceError } from '../../device/device-errors.js';
import type { Range } from '../../device/range-set.js';
import { COMMANDS } from '../protocol/constants.js';
import { Changes, requestOf } from './changes.js';
import { refusedBy } from './client-errors.js';
import type { ExportTraits } from './export-traits.js';
import type { ExtensionFirst } from './handshake.js';
import { DEFAULT_RECONNECT, type ReconnectLimits } from './outage.js';
import { eachPiece } from './pieces.js';
import { NbdSession } from './session.js';
import { statusExtents } from './status-extents.js';
import { readCredentials } from './tls.js';
import { type Change, UnflushedWrites } from './unflushed.js';
import { type NbdTarget, parseNbdUri } from './uri.js';

export interface NbdDeviceOptions {
  /** It is as long as it is, to the byte, where its server allows that: else its last bytes that are no sector are out of reach. */
  readonly isFile?: boolean;
  readonly readOnly: boolean;
  /** For one try, with TLS and the handshake; 10 s unless said otherwise. */
  readonly connectTimeoutMs?: number;
  /** A server that owes an answer and is silent for so long is taken for dead; 0, as unless said otherwise: never. */
  readonly answerTimeoutMs?: number;
  readonly reconnect?: Partial<ReconnectLimits>;
  /** Of what is kept until it is flushed; when half of it is full the device flushes by itself. 64 MiB. */
  readonly unflushedLimitBytes?: number;
  /** Write to a server that offers neither flush nor fua, as if what it has answered were on disk. */
  readonly trustsWithoutFlush?: boolean;
  /** Asked of the export before it is chosen, on every connection. */
  readonly first?: ExtensionFirst;
  /** Gives the first connection up. */
  readonly signal?: AbortSignal;
}

const MIB = 1024 * 1024;
/** What a server that is well has in flight ends sooner. */
const LAST_ANSWERS_MS = 2000;
const DEFAULT_UNFLUSHED_BYTES = 64 * MIB;
/** "A client desiring maximum interoperability SHOULD constrain its requests to a minimum block size of 2^9". */
const SMALLEST_BLOCK_BYTES = 512;
/** A piece of data is not longer, whatever the server takes: it would hold up all behind it. */
const LARGEST_DATA_BYTES = 8 * MIB;
/** Nor a piece without data: its place is told in 32 bits. */
const LARGEST_EFFECT_BYTES = 1024 * MIB;

export class NbdDevice implements BlockDevice {
  /** The URI, without what may be secret. */
  readonly name: string;
  readonly size: number;
  readonly blockSize: number;
  readonly readOnly: boolean;
  readonly #session: NbdSession;
  readonly #unflushed: UnflushedWrites;
  readonly #changes: Changes;
  readonly #guard: CallGuard;
  /** Of a read, and of a change with data. */
  readonly #dataBytes: number;
  /** Of a change without data. */
  readonly #effectBytes: number;

  private constructor(target: NbdTarget, session: NbdSession, options: NbdDeviceOptions) {
    const { traits } = session;
    const limitBytes = options.unflushedLimitBytes ?? DEFAULT_UNFLUSHED_BYTES;
    this.name = target.name;
    const smallest = options.isFile === true ? 1 : SMALLEST_BLOCK_BYTES;
    this.blockSize = Math.max(smallest, traits.minBlockBytes);
    this.size = this.#wholeBlocks(traits.size);
    this.readOnly = options.readOnly;
    this.#dataBytes = this.#wholeBlocks(Math.min(traits.maxPayloadBytes, LARGEST_DATA_BYTES, limitBytes / 4));
    this.#effectBytes = this.#wholeBlocks(Math.min(traits.maxPayloadBytes, LARGEST_EFFECT_BYTES));
    if (this.#dataBytes === 0) throw new RangeError(`unflushedLimitBytes: ${limitBytes} is too little`);
    this.#session = session;
    this.#unflushed = new UnflushedWrites(limitBytes);
    this.#guard = new CallGuard(this);
    this.#changes = new Changes(session, this.#unflushed, this.name, (error) => this.#guard.fail(error));
    session.use(this.#sessionUser(traits));
  }

  /**
   * Connects to what the URI names. One try: only a connection that was there is looked for again.
   *
   * @throws UserError USAGE, UNSUPPORTED (the URI; no NBD server; a server without flush and fua, for writing),
   *   VOLUME_NOT_FOUND (no such socket, host or export), PERMISSION_DENIED (also an export that is read only, for
   *   writing), REFUSED (TLS that is asked for or refused; a certificate), IO_ERROR (nobody listens; no answer in
   *   time). `details.image` is the URI.
   */
  static async open(uri: string, options: NbdDeviceOptions): Promise<NbdDevice> {
    const target = parseNbdUri(uri);
    const session = await NbdSession.open(target, {
      credentials: await readCredentials(target),
      timeoutMs: options.connectTimeoutMs ?? 10_000,
      answerTimeoutMs: options.answerTimeoutMs ?? 0,
      reconnect: { ...DEFAULT_RECONNECT, ...options.reconnect },
      first: options.first,
      signal: options.signal,
    });
    try {
      if (!options.readOnly) refuseToWrite(target, session.traits, options.trustsWithoutFlush === true);
      return new NbdDevice(target, session, options);
    } catch (error) {
      await session.close();
      throw error;
    }
  }

  /**
   * The ranges (bytes) that were written and not flushed yet, in order. Of a device that has failed, or was closed
   * without a flush: what is in doubt, and has to be treated as dirty.
   */
  unflushedRanges(): Range[] {
    return this.#unflushed.ranges();
  }

  read(offset: number, into: Buffers): Promise<void> {
    const length = byteLength(into);
    return this.#guard.run('read', offset, length, () =>
      eachPiece(offset, length, this.#dataBytes, (at, bytes) =>
        this.#session.request({
          command: COMMANDS.NBD_CMD_READ,
          flags: 0,
          offset: at,
          length: bytes,
          into: sliceBuffers(into, at - offset, bytes),
        }),
      ),
    );
  }

  write(offset: number, from: Buffers, options: WriteOptions = {}): Promise<void> {
    const length = byteLength(from);
    return this.#change('write', offset, length, options.fua === true, this.#dataBytes, (at, bytes) => ({
      data: sliceBuffers(from, at - offset, bytes),
    }));
  }

  writeZeroes(offset: number, length: number, options: WriteOptions = {}): Promise<void> {
    const most = this.#session.traits.canWriteZeroes ? this.#effectBytes : this.#dataBytes;
    return this.#change('write-zeroes', offset, length, options.fua === true, most);
  }

  trim(offset: number, length: number): Promise<void> {
    // A hint: where the server takes none the content stays.
    const most = this.#session.traits.canTrim ? this.#effectBytes : 0;
    return this.#change('trim', offset, length, false, most);
  }

  flush(): Promise<void> {
    return this.#guard.flush(async () => {
      if (!this.readOnly) await this.#changes.flush();
    });
  }

  extents(offset: number, length: number): Promise<Extent[]> {
    return this.#guard.ask(offset, length, [], () =>
      statusExtents(this.#session, this.blockSize, offset, length),
    );
  }

  close(): Promise<void> {
    return this.#guard.close(() => this.#session.close());
  }

  /**
   * As `close`, of a server that may be silent: calls that it has not answered within this time fail, and what they were to
   * change is in doubt. They are given that time because a server may still do them when their connection is gone.
   */
  async closeSoon(mostMs = LAST_ANSWERS_MS): Promise<void> {
    const why = `the server has not answered within ${mostMs} ms`;
    const timer = setTimeout(() => this.#session.cut(why), mostMs);
    try {
      await this.close();
    } finally {
      clearTimeout(timer);
    }
  }

  /** `mostBytes` of a piece; 0: there is nothing to do. */
  #change(
    kind: Change['kind'],
    offset: number,
    length: number,
    fua: boolean,
    mostBytes: number,
    data: (at: number, bytes: number) => Pick<Change, 'data'> = () => ({}),
  ): Promise<void> {
    const { canFua } = this.#session.traits;
    // What a failed fua write may have cost beside itself nobody knows; of a full disk it is known (ImageFile).
    const isFinal = (error: DeviceError) => fua && !isNoSpace(error);
    const body = async () => {
      if (mostBytes === 0) return;
      await eachPiece(offset, length, mostBytes, (at, bytes) =>
        this.#changes.send({ kind, offset: at, length: bytes, ...data(at, bytes) }, fua),
      );
      if (fua && !canFua) await this.#changes.flush();
    };
    return this.#guard.run(kind, offset, length, body, isFinal);
  }

  #wholeBlocks(bytes: number): number {
    return Math.floor(bytes / this.blockSize) * this.blockSize;
  }

  #sessionUser(traits: ExportTraits) {
    const unflushed = this.#unflushed;
    const device = this.name;
    return {
      get hasAgain() {
        return !unflushed.isEmpty;
      },
      again: () => unflushed.entries().map((change) => requestOf(change, traits, false)),
      onFailure: (error: Error) => {
        unflushed.refuse(error);
        this.#guard.fail(toDeviceError(error, { device, operation: 'flush' }));
      },
    };
  }
}

function refuseToWrite(target: NbdTarget, traits: ExportTraits, trustsWithoutFlush: boolean): void {
  if (traits.readOnly) {
    throw refusedBy(target, 'PERMISSION_DENIED', 'the export is read only', 'Open it for reading.');
  }
  if (traits.canFlush || traits.canFua || trustsWithoutFlush) return;
  throw refusedBy(
    target,
    'UNSUPPORTED',
    'the server offers neither flush nor force unit access: nothing that is written there is ever known to be on disk',
    'Have the server offer flush (nbd-server: flush = true).',
  );
}
