/**
 * Where a secondary of ours is kept, with its epoch log and its marks: beside an image here (image-place.ts), or behind a
 * server of ours (remote-place.ts). Either way its primary makes it, joins it, and writes what it is given.
 *
 * Ids are hexadecimal here, as they are in the list of replicas and on the wire.
 */
import type { BlockDevice } from '../../../device/contract.js';
import { UserError } from '../../../errors.js';
import type { Marks, SecondaryState } from '../../../replication/secondary/index.js';
import type { BlocksOnDisk } from '../on-disk.js';
import type { Generation } from '../replicas-file.js';

/** Of the epoch log: an epoch may be half as long. */
export const EPOCH_LOG_BYTES = 64 * 1024 * 1024;

/** A server that owes an answer and says nothing for so long is gone: a connection may be cut without a word. */
export const SILENCE_MS = 60_000;

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
  /** The one that it came from; null: an older server does not say. */
  readonly parent: Generation | null;
  /** As the marks have it: later epochs may be in the log. */
  readonly point: { readonly epoch: number; readonly atMs: number };
}

export interface PlaceLook {
  /** Of the image. */
  readonly sizeBytes: number;
  /** null: it is no secondary. */
  readonly marks: PlaceMarks | null;
}

/** Of one that was promoted: in which it is not like the primary that it had. */
export interface PlaceChanges {
  /** When it was promoted, milliseconds since 1970. */
  readonly sinceMs: number;
  /** Names of its own replicas; not all of very many. */
  readonly replicas: readonly string[];
  /** Written there since it was promoted. */
  readonly written: BlocksOnDisk;
  /** Put back when it was promoted. */
  readonly putBack: BlocksOnDisk;
  /** In hexadecimal: of these blocks in this generation. Another one where there are more, or it was promoted again. */
  readonly id: string;
}

/** The other side, as its former primary has to know it. */
export interface PlaceSide {
  /** null: it is no secondary. */
  readonly marks: PlaceMarks | null;
  /** null: it was not promoted, or `whyNot`. */
  readonly changes: PlaceChanges | null;
  /** Why it is not known what was written there since it was promoted. */
  readonly whyNot: string | null;
}

/** Who makes it a secondary again, and like what. */
export interface Demotion extends SecondaryIdentity {
  readonly generation: Generation;
  readonly parent: Generation | null;
  /** Milliseconds since 1970, by the primary's clock. */
  readonly atMs: number;
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
  /** What either kind of place says of a promote. Changes nothing; of one that is in use it is a moment old. */
  side(): Promise<PlaceSide>;
  /** Makes it ready for a first copy. @throws UserError NOT_BLANK, REFUSED, IN_USE. */
  make(secondary: SecondaryToMake): Promise<void>;
  /** @throws UserError REFUSED; with the reason `diverged` where it is not this primary's any more. */
  join(identity: SecondaryIdentity, signal: AbortSignal): Promise<JoinedSecondary>;
  /**
   * Makes a promoted one a secondary again, at its own last moment; nobody writes to it from then on but who joins. First
   * `prepare` is given what it has written, and nothing is changed before that has ended. It is refused where there are blocks by then
   * that `prepare` was not given. Where it was not promoted nothing is done, so it may be asked for again.
   *
   * @throws UserError REFUSED where it is another's, has replicas, or what was written is not known; IN_USE; what `prepare` throws.
   */
  demote(demotion: Demotion, prepare: (changes: PlaceChanges) => Promise<void>): Promise<void>;
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
  const { state, sizeBytes, generation, parent, point } = marks;
  return {
    ...{ ...identityOf(marks), state, sizeBytes, point },
    ...{ generation: namedGeneration(generation), parent: namedGeneration(parent) },
  };
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

/**
 * What is given up with it; null: it was not promoted, and there is nothing to give up.
 *
 * @throws UserError REFUSED where it is not this primary's, or may not be given up.
 */
export function givenUp(
  image: string,
  { marks, changes, whyNot }: PlaceSide,
  identity: SecondaryIdentity,
): PlaceChanges | null {
  if (marks === null) throw noSecondary(image);
  if (!isSameSecondary(marks, identity))
    throw notGivenUp(image, 'is a secondary of another volume', 'Bring back the right one.');
  if (marks.state === 'promoting')
    throw notGivenUp(image, 'is being promoted, and that has not ended', 'Run promote again: it goes on.');
  if (marks.state !== 'promoted') return null;
  if (changes === null)
    throw notGivenUp(
      image,
      `was promoted, and what was written there since is not known: ${whyNot}`,
      'Remove the replica, and add it anew with --force: all of it is copied then.',
    );
  if (changes.replicas.length === 0) return changes;
  throw notGivenUp(
    image,
    `has replicas of its own: ${changes.replicas.join(', ')}`,
    'They would be like neither side any more: remove them there first.',
  );
}

/** What `prepare` was given is not what is there now. */
export function changedMeanwhile(image: string): UserError {
  return new UserError('REFUSED', `${image} was written or promoted while it was looked at`, {
    hint: 'Look at it again (holdfast replica status --explain), and then say again which side counts.',
    details: { image, reason: 'stale' },
  });
}

function notGivenUp(image: string, why: string, hint: string): UserError {
  return new UserError('REFUSED', `${image} ${why}`, { hint, details: { image } });
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
