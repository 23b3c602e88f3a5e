/**
 * What an export is and can do, as its server said in the handshake, and whether two servers speak of the same one.
 *
 * Source: NBD doc/proto.md, "Transmission flags" and "Size constraints".
 */
import {
  DEFAULT_MAX_PAYLOAD_BYTES,
  TRANSMISSION_FLAGS as FLAGS,
  MAX_MIN_BLOCK_BYTES,
} from '../protocol/constants.js';
import type { ExportAnswer } from '../protocol/handshake.js';
import type { BlockSizes } from '../protocol/option-data.js';

export interface ExportTraits {
  /** Bytes, as the server said: not cut to whole blocks. */
  readonly size: number;
  readonly readOnly: boolean;
  readonly canFlush: boolean;
  readonly canFua: boolean;
  readonly canTrim: boolean;
  readonly canWriteZeroes: boolean;
  /** Answers block status for base:allocation. */
  readonly canTellHoles: boolean;
  /** Offsets and lengths are multiples of this. */
  readonly minBlockBytes: number;
  /** Of one read or write. */
  readonly maxPayloadBytes: number;
}

/** Where the server said nothing: "a client desiring maximum interoperability" ("Size constraints"). */
const DEFAULT_SIZES: BlockSizes = {
  minimum: 1,
  preferred: 4096,
  maximumPayload: DEFAULT_MAX_PAYLOAD_BYTES,
};

/** "This MUST be [...] at least as large as the maximum of the minimum block size and 2^9", and payloads more so. */
const SMALLEST_PREFERRED_BYTES = 512;

/** The traits, or a sentence: what the server says cannot be, or is more than this client can address. */
export function traitsOf(
  { size, transmissionFlags }: ExportAnswer,
  sizes: BlockSizes | null,
  canTellHoles: boolean,
): ExportTraits | string {
  const { minimum, maximumPayload } = sizes ?? DEFAULT_SIZES;
  if (size > BigInt(Number.MAX_SAFE_INTEGER))
    return `an export of ${size} bytes is larger than can be addressed`;
  if (
    !isPowerOfTwo(minimum) ||
    minimum > MAX_MIN_BLOCK_BYTES ||
    maximumPayload < Math.max(minimum, SMALLEST_PREFERRED_BYTES)
  ) {
    return `the server asks for blocks of ${minimum} bytes and payloads of at most ${maximumPayload}, which cannot be`;
  }
  // Without HAS_FLAGS the other bits say nothing.
  const flags = (transmissionFlags & FLAGS.NBD_FLAG_HAS_FLAGS) === 0 ? 0 : transmissionFlags;
  const has = (flag: number) => (flags & flag) !== 0;
  return {
    size: Number(size),
    readOnly: has(FLAGS.NBD_FLAG_READ_ONLY),
    canFlush: has(FLAGS.NBD_FLAG_SEND_FLUSH),
    canFua: has(FLAGS.NBD_FLAG_SEND_FUA),
    canTrim: has(FLAGS.NBD_FLAG_SEND_TRIM),
    canWriteZeroes: has(FLAGS.NBD_FLAG_SEND_WRITE_ZEROES),
    canTellHoles,
    minBlockBytes: minimum,
    maxPayloadBytes: maximumPayload,
  };
}

/**
 * Why what is served now cannot stand for what was served before, or null. More than before is no harm; what
 * requests were made by must hold still, because they are sent again as they are.
 */
export function whatChanged(before: ExportTraits, now: ExportTraits): string | null {
  if (now.size !== before.size) return `it has ${now.size} bytes now, and had ${before.size}`;
  if (now.readOnly !== before.readOnly)
    return now.readOnly ? 'it is read only now' : 'it can be written to now';
  if (now.minBlockBytes > before.minBlockBytes) return `its blocks have ${now.minBlockBytes} bytes now`;
  if (now.maxPayloadBytes < before.maxPayloadBytes) {
    return `it takes ${now.maxPayloadBytes} bytes at once now, and took ${before.maxPayloadBytes}`;
  }
  const abilities = [
    ['canFlush', 'flush'],
    ['canFua', 'force unit access'],
    ['canTrim', 'trim'],
    ['canWriteZeroes', 'write zeroes'],
    ['canTellHoles', 'tell holes'],
  ] as const;
  const lost = abilities.find(([ability]) => before[ability] && !now[ability]);
  return lost === undefined ? null : `it can no longer ${lost[1]}`;
}

function isPowerOfTwo(value: number): boolean {
  return value > 0 && (value & (value - 1)) === 0;
}
