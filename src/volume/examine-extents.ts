/**
 * What of the format `extents` lies on an image: both copies of its superblock, and the metadata engine's header and
 * newest root. For `holdfast examine`. In an array these lie in what its members hold together, and not in an image.
 */
import type { BlockDevice } from '../device/contract.js';
import { UserError } from '../errors.js';
import type { ExtentsSuperblock } from '../extents/format/superblock.js';
import { readCopies, type SuperblockCopy } from '../extents/format/superblock-copies.js';
import { readHeader, readRoot } from '../metadata/engine/recovery.js';

export interface ExtentsReport {
  readonly superblocks: readonly ExtentsCopyReport[];
  /** null: it is not on this image, or no superblock tells where. */
  readonly engine: EngineReport | null;
}

export interface ExtentsCopyReport {
  readonly offsetBytes: number;
  /** null: it is no good. */
  readonly superblock: ExtentsSuperblock | null;
  /** Bits of ro_compat, none of which is known. */
  readonly unknownRoCompat: number;
  readonly problem: string | null;
}

export interface EngineReport {
  readonly offsetBytes: number;
  readonly lengthBytes: number;
  readonly uuid: string | null;
  readonly halfBytes: number | null;
  readonly logBytes: number | null;
  readonly pages: number | null;
  readonly root: {
    readonly generation: number;
    readonly epoch: number;
    readonly levels: number;
    readonly pagesUsed: number;
    readonly entries: number;
    readonly logPosition: number;
  } | null;
  /** Damaged copies beside good ones, and what is damaged in both. */
  readonly problems: readonly string[];
}

/** null: nothing says that it is of that format. */
export async function describeExtents(device: BlockDevice): Promise<ExtentsReport | null> {
  const copies = await readCopies(device);
  if (!copies.some(({ decoded }) => !('bad' in decoded) || decoded.hasMagic)) return null;
  const superblocks = copies.map(describeCopy);
  const metadata = superblocks.find(({ superblock }) => superblock !== null)?.superblock?.metadata ?? null;
  return { superblocks, engine: metadata === null ? null : await describeEngine(device, metadata) };
}

function describeCopy({ offsetBytes, decoded }: SuperblockCopy): ExtentsCopyReport {
  if ('good' in decoded)
    return { offsetBytes, superblock: decoded.good, unknownRoCompat: decoded.roCompat, problem: null };
  const problem = 'later' in decoded ? `it is of a later holdfast: ${decoded.later}` : decoded.bad;
  return { offsetBytes, superblock: null, unknownRoCompat: 0, problem };
}

async function describeEngine(
  device: BlockDevice,
  { offset, length }: { readonly offset: number; readonly length: number },
): Promise<EngineReport> {
  const place = { offsetBytes: offset, lengthBytes: length };
  const unknown = { uuid: null, halfBytes: null, logBytes: null, pages: null };
  try {
    const { halves, header, mends } = await readHeader({ device, offset, length });
    const { halfBytes, logBytes, pages } = header.layout;
    const known = { uuid: Buffer.from(header.uuid).toString('hex'), halfBytes, logBytes, pages };
    const problems = mends.map(({ finding }) => finding.message);
    try {
      const { root, mends: ofRoot } = await readRoot(halves, header);
      const { generation, epoch, levels, pagesUsed, entries, logPosition } = root;
      problems.push(...ofRoot.map(({ finding }) => finding.message));
      return {
        ...place,
        ...known,
        root: { generation, epoch, levels, pagesUsed, entries, logPosition },
        problems,
      };
    } catch (error) {
      return { ...place, ...known, root: null, problems: [...problems, problemOf(error)] };
    }
  } catch (error) {
    return { ...place, ...unknown, root: null, problems: [problemOf(error)] };
  }
}

/** What no user can act on is thrown. */
function problemOf(error: unknown): string {
  if (!(error instanceof UserError)) throw error;
  return error.message;
}
