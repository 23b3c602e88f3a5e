/**
 * Where a secondary of ours is kept, with its epoch log and its marks: beside an image here (image-place.ts), or behind a
 * server of ours (remote-place.ts). Either way its primary makes it, joins it, and writes what it is given.
 *
 * Ids are hexadecimal here, as they are in the list of replicas and on the wire.
 */
import type { BlockDevice } from '../../../device/contract.js';
import { UserError } from '../../../errors.js';
import type { Marks, SecondaryState } from '../../../replication/secondary/index.js';
import type { Generation } from '../replicas-file.js';

/** Of the epoch log: an epoch may be half as long. */
export const EPOCH_LOG_BYTES = 64 * 1024 * 1024;

/** Which secondary of which volume. */
export interface SecondaryIdentity {
  readonly volumeUuid: string;
  readonly replicaUuid: string;
}

export interface SecondaryToMake extends SecondaryIdentity {
  /** Of the volume. */
  readonly sizeBytes: number;
  readonly generation: Generation;
  /** What is there is lost. */
  readonly force: boolean;
}

export interface PlaceMarks extends SecondaryIdentity {
  readonly state: SecondaryState;
  readonly sizeBytes: number;
  readonly generation: Generation;
  /** As the marks have it: later epochs may be in the log. */
  readonly point: { readonly epoch: number; readonly atMs: number };
}

export interface PlaceLook {
  /** Of the image. */
  readonly sizeBytes: number;
  /** null: it is no secondary. */
  readonly marks: PlaceMarks | null;
}

/** Of the one primary that has it: who joins later takes it away. */
export interface JoinedSecondary {
  /** Epochs end at its flushes. */
  readonly device: BlockDevice;
  /** The sum of `epochCost` over what one epoch may have. */
  readonly epochBytes: number;
  /** Durable when it returns. */
  beginResync(): Promise<void>;
  /** Durable when it returns. */
  endResync(generation: Generation): Promise<void>;
  /** Also while calls are in flight. What was written and not flushed is gone. */
  close(): Promise<void>;
}

export interface SecondaryPlace {
  /** Changes nothing. */
  look(): Promise<PlaceLook>;
  /** Makes it ready for a first copy. @throws UserError NOT_BLANK, REFUSED, IN_USE. */
  make(secondary: SecondaryToMake): Promise<void>;
  /** @throws UserError REFUSED; with the reason `diverged` where it is not this primary's any more. */
  join(identity: SecondaryIdentity, signal: AbortSignal): Promise<JoinedSecondary>;
}

export function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

export function bytesOf(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text, 'hex'));
}

/** As bytes have them. */
export function generationOf({ number, id }: Generation) {
  return { number, id: bytesOf(id) };
}

export function namedGeneration({ number, id }: Marks['generation']): Generation {
  return { number, id: hexOf(id) };
}

export function identityOf({ volumeUuid, replicaUuid }: Marks): SecondaryIdentity {
  return { volumeUuid: hexOf(volumeUuid), replicaUuid: hexOf(replicaUuid) };
}

export function isSameSecondary(one: SecondaryIdentity, other: SecondaryIdentity): boolean {
  return one.volumeUuid === other.volumeUuid && one.replicaUuid === other.replicaUuid;
}

export function described(marks: Marks): PlaceMarks {
  const { state, sizeBytes, generation, point } = marks;
  return { ...identityOf(marks), state, sizeBytes, generation: namedGeneration(generation), point };
}

/** Is of this primary: else somebody made it a volume of its own, or it was never ours. */
export function assertOurs(image: string, marks: PlaceMarks | null, identity: SecondaryIdentity): void {
  const details = { image, reason: 'diverged' };
  if (marks === null) throw noSecondary(image);
  if (!isSameSecondary(marks, identity))
    throw new UserError('REFUSED', `${image} is a secondary of another volume`, { details });
  if (marks.state !== 'promoted' && marks.state !== 'promoting') return;
  throw new UserError(
    'REFUSED',
    `${image} was promoted: it is a volume of its own since (generation ${marks.generation.number})`,
    {
      hint: 'Which side counts is yours to say: holdfast replica status --explain shows what each has written, and --discard-changes of replica resume (here) or of replica add (there) gives up that of the other.',
      details,
    },
  );
}

/** Without force what another volume has is left to it, also where nothing has been written there yet. */
export function assertFree(image: string, marks: PlaceMarks | null, { volumeUuid }: SecondaryIdentity): void {
  if (marks === null || marks.volumeUuid === volumeUuid || marks.state === 'promoted') return;
  throw new UserError('REFUSED', `${image} is a secondary of another volume`, {
    hint: 'Name another image. --force --yes takes this one, and what it holds is lost.',
    details: { image, volumeUuid: marks.volumeUuid },
  });
}

export function noSecondary(image: string, why = 'it has no marks'): UserError {
  return new UserError('REFUSED', `${image} is no secondary: ${why}`, {
    hint: 'holdfast replica add VOLUME --to IMAGE makes one.',
    details: { image },
  });
}

/** Of an image, or of an export. */
export function tooSmall(image: BlockDevice, sizeBytes: number): UserError {
  return new UserError('REFUSED', `${image.name} has ${image.size} bytes, and the volume has ${sizeBytes}`, {
    hint: 'A secondary is at least as long as its primary. Name another image, or one that is not there yet.',
    details: { image: image.name, offsetBytes: image.size, neededBytes: sizeBytes },
  });
}

export function notBlank(image: string, offsetBytes: number): UserError {
  return new UserError('NOT_BLANK', `${image} is not blank: it holds data at offset ${offsetBytes}`, {
    hint: 'A secondary becomes as its primary is. Name another image, or one that is not there yet; --force --yes overwrites this one, and what it holds is lost.',
    details: { image, offsetBytes },
  });
}
