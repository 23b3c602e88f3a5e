/**
 * The sizes within a cache: how much may be dirty, when write-back starts and stops, how much is read in at
 * once.
 */
import type { BlockDevice } from '../contract.js';
import { CACHE_BLOCK_BYTES } from './cache-block.js';

export interface CacheOptions {
  /** Bytes of memory, from the buffer pool; at least SMALLEST_BLOCKS blocks of 4 KiB. */
  readonly capacityBytes: number;
  /** Bytes that may be dirty; three quarters of the capacity unless said otherwise, and never more. */
  readonly dirtyLimitBytes?: number;
  /** Bytes of a full data stripe of the lower device, a multiple of 4 KiB: what goes down together. */
  readonly stripeBytes?: number;
  /** Where one of the stripes starts, a multiple of 4 KiB. */
  readonly alignOffset?: number;
  /** Bytes that go down in one batch, if they are more than a stripe; 16 MiB unless said otherwise. */
  readonly batchBytes?: number;
  /** Reads, and writes of whole stripes, of so much pass the cache by; 128 KiB unless said otherwise. */
  readonly besideBytes?: number;
  /** Whether closing the cache closes the lower device. It does unless said otherwise. */
  readonly closeLower?: boolean;
  /** Whether every write is durable before it is answered, as with fua: asked for each. It is not unless said otherwise. */
  readonly writesThrough?: () => boolean;
}

export interface CachePlan {
  readonly capacityBytes: number;
  readonly dirtyLimitBlocks: number;
  readonly startBlocks: number;
  readonly stopBlocks: number;
  readonly readChunkBlocks: number;
  readonly stripeBytes: number;
  readonly alignOffset: number;
  readonly batchBytes: number;
  readonly besideBytes: number;
}

export const SMALLEST_BLOCKS = 16;
/** For devices that have no stripes: what is written together is at least not scattered. */
const DEFAULT_STRIPE_BYTES = 64 * 1024;
const DEFAULT_BATCH_BYTES = 16 * 1024 * 1024;
const DEFAULT_BESIDE_BYTES = 128 * 1024;
const LARGEST_READ_BLOCKS = 256;

/** @throws TypeError when the numbers make no sense: they come from our own code. */
export function planCache(lower: BlockDevice, options: CacheOptions): CachePlan {
  const { stripeBytes = DEFAULT_STRIPE_BYTES, alignOffset = 0, batchBytes = DEFAULT_BATCH_BYTES } = options;
  const capacityBlocks = Math.floor(options.capacityBytes / CACHE_BLOCK_BYTES);
  if (capacityBlocks < SMALLEST_BLOCKS)
    throw new TypeError(`a cache of ${options.capacityBytes} bytes is too small`);
  if (CACHE_BLOCK_BYTES % lower.blockSize !== 0) {
    throw new TypeError(`a cache cannot stand on ${lower.name}, whose blocks have ${lower.blockSize} bytes`);
  }
  for (const bytes of [stripeBytes, alignOffset]) {
    if (bytes % CACHE_BLOCK_BYTES !== 0)
      throw new TypeError(`stripes of ${stripeBytes} bytes at ${alignOffset}`);
  }
  // A quarter is kept for reads: they must find room however fast writes come.
  const most = Math.floor((capacityBlocks * 3) / 4);
  const wanted = Math.floor((options.dirtyLimitBytes ?? options.capacityBytes) / CACHE_BLOCK_BYTES);
  const dirtyLimitBlocks = Math.max(1, Math.min(most, wanted));
  return {
    capacityBytes: capacityBlocks * CACHE_BLOCK_BYTES,
    dirtyLimitBlocks,
    startBlocks: Math.floor(dirtyLimitBlocks / 2),
    stopBlocks: Math.floor(dirtyLimitBlocks / 4),
    readChunkBlocks: Math.min(LARGEST_READ_BLOCKS, capacityBlocks - dirtyLimitBlocks),
    stripeBytes,
    alignOffset,
    batchBytes,
    besideBytes: options.besideBytes ?? DEFAULT_BESIDE_BYTES,
  };
}
