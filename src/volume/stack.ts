/**
 * How the devices of a volume are put on top of each other, and taken down in order.
 */

import { WriteBackCache } from '../device/cache/index.js';
import { ClaimingDevice } from '../device/claiming-device.js';
import type { BlockDevice } from '../device/contract.js';
import { HoldingDevice } from '../device/holding-device.js';
import { SwitchingDevice } from '../device/switching-device.js';
import { GateDevice } from '../snapshot/gate.js';
import { Moments } from '../snapshot/moments.js';

/** Memory of a volume's cache. */
const CACHE_BYTES = 64 * 1024 * 1024;

/** What is written to where nothing makes a stripe. */
export const RAW_STRIPE_BYTES = 1024 * 1024;

/** Of what replication stands over, `replicas`: a write is answered as their modes want it. */
export function cached(
  lower: BlockDevice,
  stripeBytes: number,
  { capacityBytes = CACHE_BYTES, replicas = null }: StackedCache = {},
): WriteBackCache {
  return new WriteBackCache(lower, {
    ...{ capacityBytes, stripeBytes, closeLower: false },
    // With a replica of mode `sync` it is durable on both sides: that is what fua says to the devices below. Which modes
    // there are may change while the volume is open.
    writesThrough: () => replicas?.isSynchronous ?? false,
  });
}

interface StackedCache {
  readonly capacityBytes?: number;
  readonly replicas?: { readonly isSynchronous: boolean } | null;
}

/** The cache of a volume; null: it has none now. */
export function cacheOf(device: BlockDevice): WriteBackCache | null {
  if (device instanceof WriteBackCache) return device;
  if (device instanceof SwitchingDevice) return cacheOf(device.current);
  if (device instanceof HoldingDevice || device instanceof GateDevice) return cacheOf(device.lower);
  return device instanceof ClaimingDevice ? cacheOf(device.lower) : null;
}

/** A volume that is open for writing, so that moments of it can be chosen. `over`: what stands between the gate and who writes. */
export function gated(
  lower: BlockDevice,
  over: (gate: GateDevice) => BlockDevice = (gate) => gate,
): { readonly device: BlockDevice; readonly moments: Moments } {
  const gate = new GateDevice(lower);
  const device = new HoldingDevice(over(gate));
  return { device, moments: new Moments(device, gate) };
}

/**
 * A cache comes over the gate where there is none: writes are answered from it, and what has to be durable before they go down is
 * waited for by the flush.
 */
export async function putCacheOver(
  { top, gate }: Moments,
  replicas: StackedCache['replicas'],
): Promise<void> {
  if (top.lower !== gate) return;
  await top.putBetween((lower) => cached(lower, RAW_STRIPE_BYTES, { replicas: replicas ?? null }));
}

/** Takes every step, whatever the ones before came to; throws the first failure. */
export async function closeInOrder(steps: readonly (() => Promise<unknown>)[]): Promise<void> {
  const failures: unknown[] = [];
  for (const step of steps) {
    await step().catch((error: unknown) => {
      failures.push(error);
    });
  }
  if (failures.length > 0) throw failures[0];
}
