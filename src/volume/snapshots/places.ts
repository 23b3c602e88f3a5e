/** Where a volume's snapshots are: in its directory, or in IMAGE.holdfast/ beside an image. */
import { join } from 'node:path';
import { type FolderKind, findFolder, folderOfImage, newFolder } from '../beside.js';
import type { Located } from '../locate.js';

const LIST_NAME = 'snapshots.json';
export const LAYER_SUFFIX = '.kept';

const FOLDER: FolderKind = {
  folder: 'snapshots',
  marker: LIST_NAME,
  refusal: (folder) => `its snapshots in ${folder} need what is overwritten`,
};

/** Of the volume itself, in bytes. */
export interface VolumeRange {
  readonly offset: number;
  readonly length: number;
}

/** Where a layer is. */
export type LayerPlace =
  | { readonly kind: 'file'; readonly path: string }
  | { readonly kind: 'range'; readonly range: VolumeRange };

const RANGE = /^range:(\d{1,15})\+(\d{1,15})$/;

/** As the list has it. */
export function placeOfRange({ offset, length }: VolumeRange): string {
  return `range:${offset}+${length}`;
}

/** null: it is no range. */
export function rangeOfPlace(place: string): VolumeRange | null {
  const match = RANGE.exec(place);
  return match === null ? null : { offset: Number(match[1]), length: Number(match[2]) };
}

export class SnapshotPlaces {
  constructor(readonly directory: string) {}

  get list(): string {
    return join(this.directory, LIST_NAME);
  }

  /** `place`: a path from anywhere, or a range; empty: in the folder. */
  layer({ id, place }: { readonly id: string; readonly place: string }): LayerPlace {
    const range = rangeOfPlace(place);
    if (range !== null) return { kind: 'range', range };
    return { kind: 'file', path: place === '' ? join(this.directory, `${id}${LAYER_SUFFIX}`) : place };
  }
}

export async function newSnapshotPlaces(located: Located): Promise<SnapshotPlaces> {
  return new SnapshotPlaces(await newFolder(located, FOLDER.folder, 'snapshots'));
}

/** Of the volume of this directory, whether it has any or not. */
export function snapshotPlacesWithin(directory: string): SnapshotPlaces {
  return new SnapshotPlaces(join(directory, FOLDER.folder));
}

/** Of the volume that is this one image, whether it has any or not. */
export async function snapshotPlacesOfImage(image: string): Promise<SnapshotPlaces> {
  return new SnapshotPlaces(await folderOfImage(image, FOLDER.folder));
}

/** null: it has none. Throws as `findFolder`. */
export async function findSnapshotPlaces(
  located: Located,
  options: { readonly isLook?: boolean } = {},
): Promise<SnapshotPlaces | null> {
  const found = await findFolder(located, FOLDER, options);
  return found === null ? null : new SnapshotPlaces(found);
}
