/**
 * One request that a server has not answered yet, and what has come of its answer.
 *
 * Source: NBD doc/proto.md, "Simple reply message", "Structured reply chunk message", "Structured reply types".
 *
 * Invariants
 * - A read ends well when each of its bytes has come once, as data or as a hole; otherwise the server broke the
 *   protocol, and nothing of the buffer counts.
 * - An error chunk makes the whole request an error, whatever comes before or after it.
 */
import { fillBuffers, sliceBuffers } from '../../device/buffers.js';
import type { Buffers } from '../../device/contract.js';
import { RangeSet } from '../../device/range-set.js';
import { COMMANDS, CHUNKS as TYPES } from '../protocol/constants.js';
import { ProtocolError } from '../protocol/protocol-error.js';
import {
  BLOCK_STATUS_BYTES,
  type ChunkHeader,
  decodeBlockStatus,
  decodeChunkError,
  decodeHole,
  decodeOffset,
  isErrorChunk,
  OFFSET_DATA_BYTES,
  OFFSET_HOLE_BYTES,
  type StatusDescriptor,
} from '../protocol/transmission.js';
import type { SocketReader } from '../wire/socket-reader.js';
import { AnsweredError } from './client-errors.js';

export interface NbdRequest {
  /** COMMANDS. */
  readonly command: number;
  /** COMMAND_FLAGS. */
  readonly flags: number;
  /** Bytes; 0 for a flush. */
  readonly offset: number;
  readonly length: number;
  /** Of a write: `length` bytes. */
  readonly data?: Buffers;
  /** Of a read: `length` bytes. */
  readonly into?: Buffers;
  /** Told of what block status answers, from `offset` on. */
  readonly onStatus?: (descriptors: readonly StatusDescriptor[]) => void;
  /** Called each time just before the request is put on a connection. */
  readonly onSend?: () => void;
}

/** "SHOULD NOT send more than 2^20 status descriptors in a single chunk", of 8 bytes each. */
const LONGEST_STATUS_BYTES = BLOCK_STATUS_BYTES + 8 * 2 ** 20;
/** A message of 4096 bytes, and fields around it. */
const LONGEST_ERROR_BYTES = 8192;

export class Pending {
  #error: AnsweredError | null = null;
  #coveredBytes = 0;
  /** What has come of a read, once it does not come at one go. */
  #covered: RangeSet | null = null;

  constructor(
    readonly request: NbdRequest,
    readonly resolve: () => void,
    readonly reject: (error: Error) => void,
  ) {}

  /** The server has answered that it is shutting down: it has not done what it was asked for. */
  get isShutdown(): boolean {
    return this.#error?.code === 'ESHUTDOWN';
  }

  /** A simple reply, and the data behind it. */
  async simple(error: number, reader: SocketReader, isStructured: boolean): Promise<void> {
    const { command, into } = this.request;
    if (error !== 0) {
      this.#error = new AnsweredError(error, '');
      return;
    }
    if (command === COMMANDS.NBD_CMD_BLOCK_STATUS || (isStructured && into !== undefined)) {
      throw new ProtocolError('a simple reply where only a structured one can tell what was asked');
    }
    if (into === undefined) return;
    await reader.readInto(into);
    this.#coveredBytes = this.request.length;
  }

  /** The payload of one chunk. */
  async chunk({ type, length }: ChunkHeader, reader: SocketReader): Promise<void> {
    if (isErrorChunk(type)) {
      if (length > LONGEST_ERROR_BYTES) throw new ProtocolError(`an error chunk of ${length} bytes`);
      const { error, message } = decodeChunkError(type, await reader.take(length));
      this.#error ??= new AnsweredError(error, message);
    } else if (type === TYPES.NBD_REPLY_TYPE_OFFSET_DATA && length > OFFSET_DATA_BYTES) {
      const offset = decodeOffset(await reader.take(OFFSET_DATA_BYTES), 0);
      await reader.readInto(this.#target(offset, length - OFFSET_DATA_BYTES));
    } else if (type === TYPES.NBD_REPLY_TYPE_OFFSET_HOLE && length === OFFSET_HOLE_BYTES) {
      const hole = decodeHole(await reader.take(length));
      fillBuffers(this.#target(hole.offset, hole.length), 0, hole.length, 0);
    } else if (type === TYPES.NBD_REPLY_TYPE_BLOCK_STATUS && length <= LONGEST_STATUS_BYTES) {
      const { descriptors } = decodeBlockStatus(await reader.take(length));
      if (this.request.onStatus === undefined)
        throw new ProtocolError('a block status that nobody asked for');
      this.#coveredBytes = this.request.length;
      this.request.onStatus(descriptors);
    } else if (type !== TYPES.NBD_REPLY_TYPE_NONE || length !== 0) {
      throw new ProtocolError(`a chunk of type ${type} with ${length} bytes`);
    }
  }

  /** The answer is whole. */
  finish(): void {
    const { into, onStatus, length } = this.request;
    if (this.#error !== null) {
      this.reject(this.#error);
      return;
    }
    const isDue = into !== undefined || onStatus !== undefined;
    if (isDue && this.#coveredBytes !== length) {
      throw new ProtocolError(`an answer that ended after ${this.#coveredBytes} of ${length} bytes`);
    }
    this.resolve();
  }

  /** Where the next content goes, which must be inside the request and not there yet. */
  #target(offset: number, length: number): Uint8Array[] {
    const { request } = this;
    const start = offset - request.offset;
    const end = start + length;
    if (request.into === undefined || length === 0 || start < 0 || end > request.length) {
      throw new ProtocolError(`content of ${length} bytes at ${offset} that was not asked for`);
    }
    if (length < request.length) {
      this.#covered ??= new RangeSet();
      if (this.#covered.overlaps(start, end)) throw new ProtocolError(`content at ${offset} came twice`);
      this.#covered.add(start, end);
    } else if (this.#coveredBytes > 0) {
      throw new ProtocolError(`content at ${offset} came twice`);
    }
    this.#coveredBytes += length;
    return sliceBuffers(request.into, start, length);
  }
}
