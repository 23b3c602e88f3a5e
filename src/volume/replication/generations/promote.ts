/**
 * A secondary that is an image here becomes a volume of its own, at its last consistent point: the next generation of its
 * primary's volume. What is written to it is tracked from the first write on, for its former primary (former-primary.ts).
 * Where a server offers it to its primary, that does it.
 */
import { z } from 'zod';
import { UserError } from '../../../errors.js';
import type { BlockRange } from '../../../replication/blocks.js';
import { type Marks, newId, promote, readMarks, takenBack } from '../../../replication/secondary/index.js';
import { askServer, atServer } from '../../control/control-client.js';
import { placesOfImage } from '../places.js';
import { openParts } from '../secondary/image-place.js';
import { type KeptReplica, keptReplicas } from '../secondary/own-list.js';
import { identityOf, namedGeneration } from '../secondary/place.js';
import { makeFormer } from './former-primary.js';

export interface PromotedSecondary {
  readonly image: string;
  /** The end of the epoch that it holds; null: it was no consistent point, and is as it was by force. */
  readonly point: { readonly epoch: number; readonly atMs: number } | null;
  readonly generation: number;
  /** Blocks that a resync had overwritten, and that were put back. */
  readonly restoredBlocks: number;
  /** It was already. */
  readonly wasPromoted: boolean;
}

/** What its server is asked for, with these arguments. */
export const PROMOTE = 'replica promote';
export const promoteSchema = z.object({ force: z.boolean().default(false) });

/** @throws UserError IN_USE where its primary has it open; REFUSED where it is no secondary; DATA_UNAVAILABLE without a point. */
export async function promoteSecondary(image: string, { force = false } = {}): Promise<PromotedSecondary> {
  try {
    return await promoteImage(image, { force });
  } catch (error) {
    if (!(error instanceof UserError) || error.code !== 'IN_USE') throw error;
    const promoted = await atServer([`${image}.holdfast`], 'control', (socket) =>
      askServer(socket, PROMOTE, { force }),
    );
    if (promoted === null) throw error;
    return promoted as PromotedSecondary;
  }
}

/** Of one that nobody has open. */
export async function promoteImage(
  image: string,
  { force }: { readonly force: boolean },
): Promise<PromotedSecondary> {
  const opened = await openParts(image);
  try {
    const { parts } = opened;
    const marks = await readMarks(parts.marks);
    const newGeneration = { number: marks.generation.number + 1, id: newId() };
    if (marks.state !== 'promoted') {
      const putBack = await takenBack(parts);
      // Where nobody can tell, promote refuses without force: nothing is to be left behind then.
      if (putBack !== null || force)
        await makeFormer(
          await placesOfImage(image),
          contentOf(marks, newGeneration, parts.image.size),
          putBack,
          // What is beyond the secondary in its image is the volume's too from now on, and no replica of the secondary has it.
          marks.sizeBytes === parts.image.size ? await kept(image, marks, putBack, force) : [],
        );
    }
    const promoted = await promote(parts, { newGeneration, force });
    const { point, restoredBlocks, wasPromoted } = promoted;
    return { image, point, generation: promoted.generation.number, restoredBlocks, wasPromoted };
  } finally {
    await opened.close();
  }
}

/** By force it is promoted without those of a list that nobody can read. */
async function kept(
  image: string,
  marks: Marks,
  putBack: readonly BlockRange[] | null,
  force: boolean,
): Promise<readonly KeptReplica[]> {
  try {
    return await keptReplicas(image, identityOf(marks), putBack);
  } catch (error) {
    if (!force || !(error instanceof UserError) || error.code !== 'METADATA_DAMAGED') throw error;
    return [];
  }
}

function contentOf(marks: Marks, newGeneration: Marks['generation'], sizeBytes: number) {
  const { volumeUuid, replicaUuid } = identityOf(marks);
  return {
    formatVersion: 1 as const,
    ...{ volumeUuid, sizeBytes, ofSecondary: replicaUuid },
    generation: namedGeneration(newGeneration),
    parent: namedGeneration(marks.generation),
    former: { uuid: replicaUuid, sinceMs: Date.now(), isMapLost: false },
  };
}
