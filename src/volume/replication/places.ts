/**
 * Where the files of replication are: in a folder of the volume's directory, or of IMAGE.holdfast/ beside an image. The primary's
 * and a secondary's are two folders: one volume may be both.
 */
import { join } from 'node:path';
import { type FolderKind, findFolder, folderOfImage, newFolder } from '../beside.js';
import type { Located } from '../locate.js';
import { isRemote } from '../remote.js';
import { removeFolder } from './swap-folder.js';

const REPLICAS_NAME = 'replicas.json';

export class PrimaryPlaces {
  constructor(readonly directory: string) {}

  /** Where they are while they are made: nobody looks there. */
  begun(): PrimaryPlaces {
    return new PrimaryPlaces(`${this.directory}.new`);
  }

  get replicas(): string {
    return join(this.directory, REPLICAS_NAME);
  }

  get log(): string {
    return join(this.directory, 'transactions');
  }

  map(replica: string): string {
    return join(this.directory, `${encodeURIComponent(replica)}.dirty`);
  }

  /** What was written since this volume was promoted, and what promote had put back. No replica's file is called so. */
  get sincePromote(): string {
    return join(this.directory, 'since-promote.map');
  }

  get putBack(): string {
    return join(this.directory, 'put-back.map');
  }

  uncopied(replica: string): string {
    return join(this.directory, `${encodeURIComponent(replica)}.uncopied`);
  }
}

/** Of the volume that is this one image: in its directory, where a manifest there says that it is one, else beside it. */
export async function placesOfImage(image: string): Promise<PrimaryPlaces> {
  return new PrimaryPlaces(await folderOfImage(image, FOLDER.folder));
}

/** One that its primary writes has none: what a command has left that was cut amid making it a secondary, or a volume, counts for nothing. */
export async function forgetReplicasOf(image: string): Promise<void> {
  if (isRemote(image)) return;
  await removeFolder((await placesOfImage(image)).directory);
}

/** Of a secondary that is an image here. */
export class SecondaryPlaces {
  constructor(
    readonly image: string,
    readonly directory: string = `${image}.holdfast/secondary`,
  ) {}

  /** Where they are while they are made: nobody looks there. */
  begun(): SecondaryPlaces {
    return new SecondaryPlaces(this.image, `${this.directory}.new`);
  }

  get marks(): string {
    return join(this.directory, 'marks');
  }

  get epochs(): string {
    return join(this.directory, 'epochs');
  }

  get kept(): string {
    return join(this.directory, 'kept');
  }
}

const FOLDER: FolderKind = {
  folder: 'replication',
  marker: REPLICAS_NAME,
  refusal: (folder) => `what is written to it is tracked for its replicas in ${folder}`,
};

/** Where a new volume's would be. */
export async function newPrimaryPlaces(located: Located): Promise<PrimaryPlaces> {
  return new PrimaryPlaces(await newFolder(located, FOLDER.folder, 'a log and maps'));
}

/** Those that are there; null: nothing of the volume is tracked. Throws as `findFolder`. */
export async function findPrimaryPlaces(
  located: Located,
  options: { readonly isLook?: boolean } = {},
): Promise<PrimaryPlaces | null> {
  const found = await findFolder(located, FOLDER, options);
  return found === null ? null : new PrimaryPlaces(found);
}
