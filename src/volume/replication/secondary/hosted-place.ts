/** A place as its server has it open: the image, the secondary that was made of it, and replicas of its own. */
import type { BlockDevice } from '../../../device/contract.js';
import { openImage } from '../../../device/open-image.js';
import { statOrNull } from '../../../device/stat-or-null.js';
import { UserError } from '../../../errors.js';
import { epochCost, type SecondaryDevice } from '../../../replication/secondary/index.js';
import { closeFailed } from '../../closing.js';
import type { OperationReporting } from '../../control/control-server.js';
import { closeInOrder } from '../../stack.js';
import { runReplicaOperation } from '../operations.js';
import { openPlace } from './image-place.js';
import { OWN_EPOCH_BYTES, OwnReplicas } from './own-replicas.js';
import { described, type PlaceMarks } from './place.js';

const MIB = 1024 * 1024;

export interface HostedPlace {
  readonly image: BlockDevice;
  /** As OpenedPlace. */
  readonly device: SecondaryDevice | null;
  /** null: it has none, and what is written is not tracked. */
  readonly own: OwnReplicas | null;
  /** `isLast`: it is not opened again soon. */
  close(options: { readonly isLast: boolean }): Promise<void>;
}

/** What nobody asks for. */
export interface HostTelling {
  readonly onFault: (error: unknown) => void;
  readonly warn: Warn;
}

type Warn = (message: string) => void;

/** Throws as openPlace, and where the list of its own replicas cannot be read. */
export async function openHosted(image: string, warn: Warn): Promise<HostedPlace> {
  const opened = await openPlace(image);
  const { device } = opened;
  try {
    const own = device === null || device.readOnly ? null : await OwnReplicas.open(image, device, warn);
    const close = (options: { readonly isLast: boolean }) =>
      closeInOrder([async () => own?.close(options), () => opened.close()]);
    return { image: opened.image, device, own, close };
  } catch (error) {
    await closeFailed(image, () => opened.close(), warn);
    throw error;
  }
}

/**
 * `sizeBytes`: of an image that is not there yet, and is made. Throws USAGE where it is there and of another size, and as
 * `openHosted`.
 */
export async function openFirst(
  image: string,
  sizeBytes: number | undefined,
  warn: Warn,
): Promise<HostedPlace> {
  const found = await statOrNull(image);
  if (found === null && sizeBytes !== undefined)
    await (await openImage(image, { readOnly: false, create: { size: sizeBytes } })).close();
  else if (found?.isDirectory() === true)
    throw new UserError('UNSUPPORTED', `${image}: a secondary is one image, and this is a directory`, {
      hint: 'Name an image; of one that is not there yet say how large it is to be: --size.',
      details: { image },
    });
  const opened = await openHosted(image, warn);
  const { size } = opened.image;
  if (sizeBytes === undefined || size === sizeBytes) return opened;
  await opened.close({ isLast: true });
  throw new UserError('USAGE', `${image} is there, and has ${size} bytes, not ${sizeBytes}`, {
    hint: 'Leave out --size, or name an image that is not there yet.',
    details: { image, sizeBytes: size },
  });
}

export function marksOfHosted(place: HostedPlace | null): PlaceMarks | null {
  const device = place?.device ?? null;
  return device === null ? null : { ...described(device.marks), point: device.point };
}

/** A secondary that may have replicas of its own. @throws UserError REFUSED where it is none. */
export function secondaryOf(image: string, { device }: HostedPlace): SecondaryDevice {
  if (device !== null && !device.readOnly) return device;
  const [why, hint] =
    device === null
      ? [
          'nothing was made of it yet',
          'holdfast replica add VOLUME --to the URI of this server makes it a secondary.',
        ]
      : [
          'it was promoted: it is a volume of its own',
          'Stop this server; then it can have replicas as any volume.',
        ];
  throw new UserError('REFUSED', `${image} has no replicas of its own: ${why}`, { hint, details: { image } });
}

/** What is done to replicas of its own; ends, with an error, when the place is closed meanwhile. @throws UserError REFUSED where it has none. */
export async function operateOn(
  image: string,
  opened: HostedPlace,
  {
    name,
    args,
    reporting,
  }: { readonly name: string; readonly args: unknown; readonly reporting: OperationReporting },
): Promise<unknown> {
  const secondary = secondaryOf(image, opened);
  const { own } = opened;
  const replicated = {
    label: image,
    // Not what gathers: what its primary has not flushed has no end yet.
    device: own?.replicas.device ?? secondary,
    tracking: { replicas: own?.replicas ?? null },
  };
  const work = () => runReplicaOperation(replicated, name, args, reporting);
  return own === null ? work() : own.during(work);
}

/**
 * What an epoch of its primary may have. The server takes long writes in pieces of 1 MiB, each an entry: what the primary counts
 * as one change costs more here.
 */
export function epochBytesOf({ device, own }: HostedPlace): number {
  const epochBytes = own === null ? device!.epochBytes : Math.min(device!.epochBytes, OWN_EPOCH_BYTES);
  return epochBytes - 2 * epochCost(0) * Math.ceil(epochBytes / MIB);
}
