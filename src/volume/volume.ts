/**
 * A volume, open: what its argument names, put together as a stack of devices, and taken apart in order.
 */

import { stat } from 'node:fs/promises';
import { ClaimingDevice } from '../device/claiming-device.js';
import type { BlockDevice } from '../device/contract.js';
import { ImageFile } from '../device/image-file.js';
import { openImage } from '../device/open-image.js';
import { UserError } from '../errors.js';
import type { ExaminedImage, Judgement } from '../raid/md/model.js';
import { assertAllowed } from '../raid/open.js';
import { VolumeBackups } from './backup/volume-backups.js';
import { closeFailed } from './closing.js';
import { roleOf } from './extents-devices.js';
import { openFiles } from './extents-store.js';
import { HeldImages } from './held-images.js';
import { lookAndJudge, pathsInUse } from './images.js';
import { assertHoldsVolume, assertWhole, type Located, locateVolume } from './locate.js';
import type { OpenVolumeOptions, Volume } from './model.js';
import { openRaid } from './raid-stack.js';
import { isRemote } from './remote.js';
import { assertNoSecondary } from './replication/no-secondary.js';
import { VolumeTracking } from './replication/volume-tracking.js';
import { stampsOfImage } from './snapshots/stamp-sources.js';
import { flushAndClose, VolumeSnapshots } from './snapshots/volume-snapshots.js';
import { cached, closeInOrder, gated, putCacheOver, RAW_STRIPE_BYTES } from './stack.js';
import { VolumeFiles } from './volume-files.js';

export async function openVolume(args: readonly string[], options: OpenVolumeOptions): Promise<Volume> {
  const volume = await openBytes(args, options);
  if (options.asRaw === true) return volume;
  try {
    const role = await roleOf(volume.located, volume.device);
    return role === 'volume' ? withFiles({ ...volume, role }, options) : { ...volume, role };
  } catch (error) {
    // Why it could not be opened is what the user must hear.
    await closeFailed(volume.label, () => volume.close(), options.warn);
    throw error;
  }
}

/** Its files are opened when somebody asks for them, and closed before what they lie on. */
function withFiles(volume: Volume, { warn }: OpenVolumeOptions): Volume {
  const files = new VolumeFiles(() => openFiles(volume, warn));
  return { ...volume, files, close: () => closeInOrder([() => files.close(), () => volume.close()]) };
}

async function openBytes(args: readonly string[], options: OpenVolumeOptions): Promise<Volume> {
  const located = await locateVolume(args);
  if (options.asRaw === true && !isArrayOfFiles(located, options))
    return openRaw(located, located.images, options, true);
  const { images, absent, judgement } = await lookAndJudge(located);
  assertHoldsVolume(located, images);
  if (isSingle(located, images)) return openRaw(located, located.images, options, false);
  assertAllowed(judgement, located.label, options.access === 'read');
  for (const why of setAside(located, judgement, absent)) options.warn(why);
  return openRaid(located, pathsInUse(judgement), options);
}

/** As it is, its bytes are those of the array: what lies in them is not looked at. */
function isArrayOfFiles({ manifest }: Located, { access }: OpenVolumeOptions): boolean {
  return access === 'read' && manifest?.kind === 'raid' && manifest.format === 'extents';
}

/**
 * Images that should serve and do not. What lies beside a volume and was never of it, or has long been replaced,
 * is nobody's concern.
 */
function setAside(located: Located, judgement: Judgement, absent: ReadonlyMap<string, string>): string[] {
  const isFilled = (slot: number | null) => slot !== null && judgement.slots[slot]?.state === 'in-sync';
  const unfit = judgement.members.filter(
    ({ image, state, slot }) =>
      ((state === 'faulty' || state === 'stale') && !isFilled(slot)) ||
      (state === 'foreign' && image !== null && located.expected.has(image)),
  );
  return [
    ...[...absent].map(([image, why]) => `${image}: ${why}`),
    ...unfit.map(({ image, state, reason }) => `${image} is ${state} and left out: ${reason}`),
  ];
}

/** One image without any superblock, or what a manifest calls one. */
export function isSingle(located: Located, images: readonly ExaminedImage[]): boolean {
  if (located.manifest !== null) return located.manifest.kind === 'single';
  const [only] = images;
  if (only === undefined || images.length > 1 || located.directory !== null) return false;
  return only.superblocks.length === 0 && only.damaged.length === 0;
}

async function openRaw(
  located: Located,
  images: readonly string[],
  options: OpenVolumeOptions,
  asRaw: boolean,
): Promise<Volume> {
  const [image, ...others] = images;
  if (image === undefined || others.length > 0) {
    throw new UserError('USAGE', `${located.label}: a raw volume is one image, ${images.length} were named`);
  }
  const readOnly = options.access === 'read';
  if (!asRaw) await assertWhole(located, image);
  if (asRaw && !readOnly) {
    throw new UserError(
      'REFUSED',
      `${image}: --as-raw reads only: writing one member behind its array's back would make its parity wrong`,
    );
  }
  if (!asRaw) await assertNoSecondary(image, readOnly);
  const file = await openImage(image, { readOnly });
  try {
    await warnOfTail(file, options);
    return asRaw ? rawVolume(located, file) : await ownVolume(located, file, options);
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** As `rawVolume`, of one that has a place for replicas and snapshots, or has some. */
async function ownVolume(
  located: Located,
  lower: BlockDevice,
  { access, warn }: OpenVolumeOptions,
): Promise<Volume> {
  const readOnly = access === 'read';
  const open = async (snapshots: VolumeSnapshots) => {
    const tracking = readOnly ? VolumeTracking.none(lower) : await trackingOf(located, lower, warn);
    const claims = new ClaimingDevice(readOnly ? lower : inBytes(tracking));
    const volume = rawVolume(located, lower, { snapshots, tracking, claims });
    const { label, moments } = volume;
    await snapshots.open({ label, device: claims, moments, warn });
    if (moments !== null && snapshots.current?.wantsCache === true) await putCacheOver(moments, tracking);
    return volume;
  };
  if (isRemote(lower.name)) return open(VolumeSnapshots.none());
  const source = stampsOfImage(lower.name);
  return VolumeSnapshots.during(located, { source, sizeBytes: lower.size, readOnly, warn }, open);
}

async function trackingOf(
  located: Located,
  lower: BlockDevice,
  warn: (message: string) => void,
): Promise<VolumeTracking> {
  // What is tracked is gathered first: a batch that leaves the cache is one transaction.
  return takesBytes(lower)
    ? VolumeTracking.open(located, lower, {
        warn,
        over: (replicas) => cached(replicas.device, RAW_STRIPE_BYTES, { replicas }),
      })
    : VolumeTracking.open(located, lower, { warn });
}

interface RawParts {
  readonly tracking?: VolumeTracking;
  readonly snapshots?: VolumeSnapshots;
  /** Over the device, or what tracks it; where there is none it has no containers. */
  readonly claims?: ClaimingDevice;
}

/** A volume that is the bytes of one device; where it may be written, to the byte. */
export function rawVolume(
  located: Located,
  lower: BlockDevice,
  { tracking = VolumeTracking.none(lower), snapshots = VolumeSnapshots.none(), claims }: RawParts = {},
): Volume {
  const { device, moments } = lower.readOnly
    ? { device: claims ?? lower, moments: null }
    : gated(claims ?? inBytes(tracking));
  const upper = lower.readOnly
    ? [() => snapshots.close()]
    : [() => flushAndClose(device, snapshots), () => device.close(), () => tracking.close()];
  const held = new HeldImages([lower]);
  return {
    label: located.label,
    located,
    device,
    role: null,
    files: null,
    array: null,
    judgement: null,
    recovery: null,
    tracking,
    moments,
    backups: new VolumeBackups(),
    snapshots,
    held,
    close: () => closeInOrder([...upper, () => snapshots.seal(), () => held.close()]),
  };
}

function inBytes(tracking: VolumeTracking): BlockDevice {
  const { device } = tracking;
  return device.blockSize === 1 ? device : cached(device, RAW_STRIPE_BYTES, { replicas: tracking });
}

/**
 * A file has the page cache, which takes bytes and gathers what goes to the disk: a cache of ours above it would hold all
 * once more, and every request would pay for both. Whatever else it is has no other.
 */
function takesBytes(lower: BlockDevice): boolean {
  if (lower instanceof ImageFile) lower.takeBytes();
  return lower.blockSize === 1;
}

/** A tail that is no whole sector is out of reach: whoever reads the image must know that it is not all of it. */
async function warnOfTail(file: BlockDevice, options: OpenVolumeOptions): Promise<void> {
  if (isRemote(file.name)) return;
  const found = await stat(file.name);
  const tail = found.isFile() ? found.size - file.size : 0;
  if (tail > 0) options.warn(`${file.name} ends amid a sector: its last ${tail} bytes are left out`);
}
