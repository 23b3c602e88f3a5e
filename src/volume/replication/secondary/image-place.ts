/** A place for a secondary beside an image here. The lock of the image keeps a second primary away. */
import { mkdir, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { BlockDevice } from '../../../device/contract.js';
import { fileError } from '../../../device/device-errors.js';
import { syncDirectory } from '../../../device/image-open.js';
import { openImage } from '../../../device/open-image.js';
import { statOrNull } from '../../../device/stat-or-null.js';
import {
  createSecondary,
  demote,
  keptBytesFor,
  MARKS_BYTES,
  type Marks,
  type NewSecondary,
  NO_GENERATION,
  openSecondary,
  readMarks,
  type SecondaryDevice,
  type SecondaryParts,
} from '../../../replication/secondary/index.js';
import { firstContent, makeBlank } from '../../blank.js';
import { isRemote } from '../../remote.js';
import { voidSnapshotsOf } from '../../snapshots/void.js';
import { closeInOrder } from '../../stack.js';
import { sideOfImage } from '../generations/changes-there.js';
import { forgetReplicasOf, SecondaryPlaces } from '../places.js';
import { putAway, takePlace } from '../swap-folder.js';
import { assertNoneOfItsOwn } from './own-list.js';
import {
  assertFree,
  assertOurs,
  bytesOf,
  type Demotion,
  described,
  EPOCH_LOG_BYTES,
  generationOf,
  givenUp,
  type JoinedSecondary,
  noSecondary,
  notBlank,
  type PlaceChanges,
  type PlaceLook,
  type PlaceSide,
  type SecondaryIdentity,
  type SecondaryPlace,
  type SecondaryToMake,
  tooSmall,
} from './place.js';

export class ImagePlace implements SecondaryPlace {
  constructor(readonly image: string) {}

  async look(): Promise<PlaceLook> {
    const device = await openImage(this.image, { readOnly: true, lock: false });
    try {
      const marks = await marksOf(this.image);
      return { sizeBytes: device.size, marks: marks === null ? null : described(marks) };
    } finally {
      await device.close();
    }
  }

  async side(): Promise<PlaceSide> {
    return sideOfImage(this.image, await marksOf(this.image));
  }

  async make(secondary: SecondaryToMake): Promise<void> {
    const { image: path } = this;
    const { sizeBytes, force } = secondary;
    const isNew = (await statOrNull(path)) === null;
    const image = await openImage(path, {
      readOnly: false,
      ...(isNew ? { create: { size: sizeBytes } } : {}),
    });
    try {
      if (image.size < sizeBytes) throw tooSmall(image, sizeBytes);
      const marks = force ? null : await marksOf(path);
      if (marks !== null) assertFree(path, described(marks), secondary);
      const offset = isNew ? null : await firstContent(image);
      if (offset !== null && !force) throw notBlank(path, offset);
      if (offset !== null) {
        // First: what is blank is not to count as the secondary that it was.
        const old = await putAway(new SecondaryPlaces(path).directory);
        const folder = dirname(old);
        if ((await statOrNull(folder)) !== null) await syncDirectory(folder);
        await rm(old, { recursive: true, force: true });
        await makeBlank(image);
      }
      await makeParts(image, path, secondary);
    } finally {
      await image.close();
    }
  }

  async join(identity: SecondaryIdentity): Promise<JoinedSecondary> {
    const opened = await openParts(this.image);
    try {
      const marks = described(await readMarks(opened.parts.marks));
      assertOurs(this.image, marks, identity);
      await assertNoneOfItsOwn(this.image, marks);
      const device = await openSecondary(opened.parts);
      await forgetReplicasOf(this.image);
      return {
        device,
        epochBytes: device.epochBytes,
        beginResync: () => device.beginResync(),
        endResync: (generation) => device.endResync({ generation: generationOf(generation) }),
        close: () => device.close(),
      };
    } catch (error) {
      await opened.close();
      throw error;
    }
  }

  /**
   * All under one lock, so nobody writes to it between the look and the end. Order, each durable before the next: what `prepare`
   * does; the marks; its own list of replicas is gone. Cut before the marks it is a promoted volume as before; cut after them a
   * secondary, of which who joins forgets what is left of that list.
   */
  async demote(demotion: Demotion, prepare: (changes: PlaceChanges) => Promise<void>): Promise<void> {
    const { image } = this;
    const opened = await openParts(image);
    try {
      const side = await sideOfImage(image, await readMarks(opened.parts.marks));
      const changes = givenUp(image, side, demotion);
      if (changes === null) return;
      await prepare(changes);
      const { generation, parent, atMs } = demotion;
      await demote(opened.parts, {
        generation: generationOf(generation),
        parent: parent === null ? NO_GENERATION : generationOf(parent),
        atMs,
      });
      await forgetReplicasOf(image);
    } finally {
      await opened.close();
    }
  }
}

export interface OpenedParts {
  readonly parts: SecondaryParts;
  close(): Promise<void>;
}

/** @throws UserError REFUSED where the image is no secondary. */
export async function openParts(image: string): Promise<OpenedParts> {
  const places = new SecondaryPlaces(image);
  if ((await statOrNull(places.marks)) === null) throw noSecondary(image, `there is no ${places.marks}`);
  const opened: BlockDevice[] = [];
  const close = () => closeInOrder(opened.map((device) => () => device.close()));
  try {
    for (const path of [image, places.epochs, places.kept, places.marks])
      opened.push(await openImage(path, { readOnly: false }));
    const [device, epochs, kept, marks] = opened as [BlockDevice, BlockDevice, BlockDevice, BlockDevice];
    return { parts: { image: device, epochs, kept, marks }, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** An image that is locked, to be looked at and, where it is a secondary, to be written as one. */
export interface OpenedPlace {
  readonly image: BlockDevice;
  /** Recovered; read only where it was promoted. null: the image is no secondary. */
  readonly device: SecondaryDevice | null;
  close(): Promise<void>;
}

/** Throws REFUSED where a promotion has begun and not ended. */
export async function openPlace(path: string): Promise<OpenedPlace> {
  if ((await statOrNull(new SecondaryPlaces(path).marks)) === null) {
    const image = await openImage(path, { readOnly: false });
    return { image, device: null, close: () => image.close() };
  }
  const { parts, close } = await openParts(path);
  try {
    const { state } = await readMarks(parts.marks);
    const device = await openSecondary(parts, { readOnly: state === 'promoted' });
    return { image: parts.image, device, close: () => device.close() };
  } catch (error) {
    await close();
    throw error;
  }
}

/** null: the image is no secondary. */
export async function marksOf(image: string): Promise<Marks | null> {
  const { marks } = new SecondaryPlaces(image);
  if (isRemote(image) || (await statOrNull(marks)) === null) return null;
  const device = await openImage(marks, { readOnly: true, lock: false });
  try {
    return await readMarks(device);
  } finally {
    await device.close();
  }
}

/**
 * They are made in a folder of another name, which takes the place of the old one when all of it is durable: what was there
 * stays until then, and there are marks as a whole or not at all. `content`: what the image is.
 */
export async function makeParts(
  image: BlockDevice,
  path: string,
  secondary: Omit<SecondaryToMake, 'force'>,
  content: Pick<NewSecondary, 'state' | 'atMs'> = { state: 'initial' },
): Promise<void> {
  const places = new SecondaryPlaces(path);
  // Its primary writes to it from now on.
  await voidSnapshotsOf(path, 'the image was made a secondary of another volume');
  const begun = places.begun();
  await rm(begun.directory, { recursive: true, force: true });
  await mkdir(begun.directory, { recursive: true, mode: 0o700 }).catch((error: unknown) => {
    throw fileError(begun.directory, 'made', error);
  });
  try {
    await fillParts(image, begun, secondary, content);
    await takePlace(begun.directory, places.directory);
  } catch (error) {
    // What went wrong first is what the user must hear.
    await rm(begun.directory, { recursive: true, force: true }).catch(() => undefined);
    throw error;
  }
}

/** All of it is durable when it returns. */
async function fillParts(
  image: BlockDevice,
  places: SecondaryPlaces,
  { volumeUuid, replicaUuid, sizeBytes, generation }: Omit<SecondaryToMake, 'force'>,
  content: Pick<NewSecondary, 'state' | 'atMs'>,
): Promise<void> {
  const made: BlockDevice[] = [];
  const make = async (file: string, size: number) => {
    const device = await openImage(file, { readOnly: false, create: { size } });
    made.push(device);
    return device;
  };
  try {
    const epochs = await make(places.epochs, EPOCH_LOG_BYTES);
    const kept = await make(places.kept, keptBytesFor(sizeBytes));
    const marks = await make(places.marks, MARKS_BYTES);
    await createSecondary(
      { image, epochs, kept, marks },
      {
        ...{ volumeUuid: bytesOf(volumeUuid), replicaUuid: bytesOf(replicaUuid), sizeBytes },
        ...{ generation: generationOf(generation), ...content },
      },
    );
    await syncDirectory(places.directory);
  } finally {
    await closeInOrder(made.map((device) => () => device.close()));
  }
}
