/**
 * What tells whether somebody else has written to a volume since holdfast had it last: then what is kept of its moments misses what
 * they overwrote, and is void.
 *
 * - An array: the newest events of its members, and the stamp that the last opening of ours has left in their superblocks. Linux's
 *   md clears it with its own first superblock, which it writes before the first write of an assembly (drivers/md/md.c,
 *   super_1_sync, super_90_sync, md_write_start). Events alone tell nothing: md puts them back when an array comes to rest. So the
 *   array has a stamp of ours (`StampSource.leave`) before it has a first moment.
 * - One image: which file it is, its size, and when it was changed last. After a crash of ours nobody can tell that time: then the
 *   others count.
 *
 * After a crash the array has the stamp of an opening that the list knows by its tag (SuperblockRounds.tagStamps): one of ours
 * that did not have the list, and so kept nothing for it, has another.
 */
import { stat } from 'node:fs/promises';
import { z } from 'zod';
import type { Superblock } from '../../raid/md/model.js';

export const stampSchema = z.discriminatedUnion('kind', [
  z.object({
    kind: z.literal('raid'),
    /** The array's, as mdadm prints it. */
    uuid: z.string(),
    /** Decimal, and 16 hexadecimal digits. */
    events: z.string().regex(/^\d{1,20}$/),
    opening: z.string().regex(/^[0-9a-f]{16}$/),
  }),
  z.object({
    kind: z.literal('image'),
    /** Inode and, in nanoseconds since 1970, when it was made; null: it is no regular file. */
    file: z.string().nullable(),
    sizeBytes: z.number().int().nonnegative(),
    /** Nanoseconds since 1970; null: it is no regular file, and has no time. */
    changedNs: z.string().nullable(),
  }),
]);

export type VolumeStamp = z.infer<typeof stampSchema>;

/** Of a volume that is open. */
export interface StampSource {
  /** As it is on disk now. */
  read(): Promise<VolumeStamp>;
  /** Openings are known by this, from the next first write on: not zero, 32 bits. */
  tag(tag: number): void;
  /** Leaves one of ours where there is none, durably. */
  leave(): Promise<void>;
}

/** What the list says of the volume. */
export interface KnownStamp {
  readonly stamp: VolumeStamp;
  /** 8 hexadecimal digits: the upper half of the stamps that the opening leaves which began with `stamp`. */
  readonly openingTag: string;
  /** That opening was not ended; else `stamp` is that of its end. */
  readonly isOpen: boolean;
}

const NONE = '0'.repeat(16);

/** Of members that hold data. */
export function stampOfMembers(superblocks: readonly Superblock[]): VolumeStamp {
  const events = superblocks.reduce(
    (most, superblock) => (superblock.events > most ? superblock.events : most),
    0n,
  );
  const newest = superblocks.filter(
    (superblock) => superblock.events === events && superblock.recoveryOffset === null,
  );
  const [first] = newest;
  const areAlike = newest.every(({ stamp }) => stamp === first?.stamp);
  const opening = areAlike ? (first?.stamp ?? 0n) : 0n;
  const uuid = first?.setUuid ?? '';
  return { kind: 'raid', uuid, events: events.toString(), opening: opening.toString(16).padStart(16, '0') };
}

/** Whether an opening of ours was the last that wrote; of an image nobody can tell. */
export function isStamped(stamp: VolumeStamp): boolean {
  return stamp.kind === 'image' || stamp.opening !== NONE;
}

export async function stampOfImage(path: string): Promise<VolumeStamp> {
  const found = await stat(path, { bigint: true });
  if (!found.isFile()) return { kind: 'image', file: null, sizeBytes: 0, changedNs: null };
  const { ino, birthtimeNs, size, mtimeNs } = found;
  return {
    kind: 'image',
    file: `${ino}-${birthtimeNs}`,
    sizeBytes: Number(size),
    changedNs: mtimeNs.toString(),
  };
}

/** Nothing was written to it between the two. */
export function isSameStamp(one: VolumeStamp, other: VolumeStamp): boolean {
  return JSON.stringify(stampSchema.parse(one)) === JSON.stringify(stampSchema.parse(other));
}

/** Why what was kept cannot be trusted; null: it can. */
export function whyVoid(known: KnownStamp, found: VolumeStamp): string | null {
  const { stamp } = known;
  if (stamp.kind === 'raid' && found.kind === 'raid') return whyVoidArray(stamp, found, known);
  if (stamp.kind === 'image' && found.kind === 'image') return whyVoidImage(stamp, found, known);
  return 'it was another volume when it was kept';
}

type StampOf<Kind extends VolumeStamp['kind']> = Extract<VolumeStamp, { kind: Kind }>;

function whyVoidImage(
  stamp: StampOf<'image'>,
  found: StampOf<'image'>,
  { isOpen }: KnownStamp,
): string | null {
  if (stamp.changedNs === null || found.changedNs === null)
    return 'of what is no regular file nobody can tell whether somebody else has written to it';
  if (stamp.sizeBytes !== found.sizeBytes)
    return `the image had ${stamp.sizeBytes} bytes, and has ${found.sizeBytes}`;
  if (!isOpen && stamp.changedNs !== found.changedNs)
    return 'somebody else has changed the image since holdfast had it last';
  // A copy of all of it, with its times, is as good; not one that was made amid writes.
  if (isOpen && stamp.file !== found.file) return 'the image is another file than the one that was written';
  return null;
}

function whyVoidArray(
  stamp: StampOf<'raid'>,
  found: StampOf<'raid'>,
  { isOpen, openingTag }: KnownStamp,
): string | null {
  if (stamp.uuid !== found.uuid) return `they are of another array (${stamp.uuid})`;
  const isFurther = BigInt(found.events) >= BigInt(stamp.events);
  const isLast = found.opening === stamp.opening && found.opening !== NONE;
  if (isLast && found.events === stamp.events) return null;
  // Of the opening that was cut: as it found the array, with superblocks that it wrote before it wrote data; or one of its own.
  if (isOpen && isFurther && (isLast || found.opening.startsWith(openingTag))) return null;
  return `somebody else has written to the array since holdfast had it last (events ${stamp.events} then, ${found.events} now)`;
}
