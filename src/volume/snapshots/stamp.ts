/**
 * What tells whether somebody else has written to a volume since holdfast had it last: then what is kept of its moments misses what
 * they overwrote, and is void.
 *
 * - An array: the newest events of its members, and the stamp that the last opening of ours has left in their superblocks. Linux's
 *   md clears it with its own first superblock, which it writes before the first write of an assembly (drivers/md/md.c,
 *   super_1_sync, md_write_start).
 * - One image: its size, and when it was changed last. After a crash of ours nobody can tell that time: then the size alone counts.
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
    sizeBytes: z.number().int().nonnegative(),
    /** Nanoseconds since 1970; null: it is no file that has a time. */
    changedNs: z.string().nullable(),
  }),
]);

export type VolumeStamp = z.infer<typeof stampSchema>;

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

export async function stampOfImage(path: string): Promise<VolumeStamp> {
  const found = await stat(path, { bigint: true });
  const changedNs = found.isFile() ? found.mtimeNs.toString() : null;
  return { kind: 'image', sizeBytes: found.isFile() ? Number(found.size) : 0, changedNs };
}

/**
 * Why what was kept cannot be trusted; null: it can. `wasClosed`: the stamp is that of its end; else of the beginning of an opening that
 * was cut, and what holdfast has written itself since may be there.
 */
export function whyVoid(known: VolumeStamp, found: VolumeStamp, wasClosed: boolean): string | null {
  if (known.kind === 'raid' && found.kind === 'raid') return whyVoidArray(known, found, wasClosed);
  if (known.kind !== 'image' || found.kind !== 'image') return 'it was another volume when it was kept';
  if (known.sizeBytes !== found.sizeBytes)
    return `the image had ${known.sizeBytes} bytes, and has ${found.sizeBytes}`;
  if (!wasClosed || known.changedNs === found.changedNs) return null;
  return 'somebody else has changed the image since holdfast had it last';
}

type ArrayStamp = Extract<VolumeStamp, { kind: 'raid' }>;

function whyVoidArray(known: ArrayStamp, found: ArrayStamp, wasClosed: boolean): string | null {
  if (known.uuid !== found.uuid) return `they are of another array (${known.uuid})`;
  if (known.events === found.events && known.opening === found.opening) return null;
  const isOurs = found.opening !== NONE && BigInt(found.events) >= BigInt(known.events);
  if (!wasClosed && isOurs) return null;
  return `somebody else has written to the array since holdfast had it last (events ${known.events} then, ${found.events} now)`;
}
