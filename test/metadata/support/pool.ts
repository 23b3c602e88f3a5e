/**
 * A pool on two devices in memory, and a client that writes as the source document has it: into journal extents, at the
 * same place, marked; so that what a file holds can be compared with what was written.
 */
import type { BlockDevice } from '../../../src/device/contract.js';
import { MemoryDevice } from '../../../src/device/memory.js';
import { hasBit, setBit } from '../../../src/metadata/bits.js';
import type { ExtentPool } from '../../../src/metadata/completion.js';
import type { MappedExtent } from '../../../src/metadata/messages.js';
import { FaultyDevice } from '../../support/devices/faulty-device.js';
import { type Ask, BLOCKS, bits, type FileStage, stageWithFile } from './stage.js';

export const BLOCK_BYTES = 512;
export const EXTENT_BYTES = BLOCKS * BLOCK_BYTES;

/** Even extents lie on the first device, odd ones on the second. */
export class TwoTargets implements ExtentPool {
  readonly blockBytes = BLOCK_BYTES;

  constructor(readonly devices: readonly [BlockDevice, BlockDevice]) {}

  locate(extent: number): { device: BlockDevice; offsetBytes: number } {
    return { device: this.devices[extent % 2]!, offsetBytes: Math.floor(extent / 2) * EXTENT_BYTES };
  }
}

/** Two targets that fail as told, with room for the extents of a stage. */
function faultyTargets(): { devices: [FaultyDevice, FaultyDevice]; pool: TwoTargets } {
  const make = () => new FaultyDevice(new MemoryDevice(32 * EXTENT_BYTES));
  const devices: [FaultyDevice, FaultyDevice] = [make(), make()];
  return { devices, pool: new TwoTargets(devices) };
}

export interface TargetStage extends FileStage {
  readonly devices: [FaultyDevice, FaultyDevice];
  readonly pool: TwoTargets;
}

export async function stageWithTargets(): Promise<TargetStage> {
  return { ...(await stageWithFile()), ...faultyTargets() };
}

export const everyBlock: readonly number[] = Array.from({ length: BLOCKS }, (_, at) => at);

/** Blocks of an extent by number: a byte to fill one with, or null for a block that is cleared. */
export type Blocks = Readonly<Record<number, number | null>>;

export interface Change {
  readonly file: number;
  readonly index: number;
  readonly blocks: Blocks;
}

/** Writes into journal extents, flushes, hardens: what a client does up to the point where its commit counts. */
export async function commitStart(
  ask: Ask,
  pool: ExtentPool,
  changes: readonly Change[],
  journal?: readonly number[],
): Promise<{ transaction: number; journal: readonly number[] }> {
  const extents = journal ?? (await ask('Allocate_Journal_Space', { count: changes.length })).extents;
  const flags = await Promise.all(
    changes.map(async ({ file, index, blocks }, at) => {
      const marked = bits();
      const cleared = bits();
      const { device, offsetBytes } = pool.locate(extents[at]!);
      for (const [block, fill] of Object.entries(blocks)) {
        setBit(fill === null ? cleared : marked, Number(block));
        if (fill === null) continue;
        await device.write(offsetBytes + Number(block) * BLOCK_BYTES, new Uint8Array(BLOCK_BYTES).fill(fill));
      }
      return { file, index, journal: extents[at]!, marked, cleared };
    }),
  );
  for (const device of new Set(extents.map((extent) => pool.locate(extent).device))) await device.flush();
  const { transaction } = await ask('Harden_Extent_Flags', { extents: flags, sizes: [], starts: true });
  return { transaction: transaction!, journal: extents };
}

/** A block, as whoever reads the file has it: pending changes over used data over zeroes. Its fill. */
async function readBlock(pool: ExtentPool, mapped: MappedExtent, block: number): Promise<number> {
  const newest = [...mapped.pending]
    .reverse()
    .find(({ marked, cleared }) => hasBit(marked, block) || hasBit(cleared, block));
  const isHole = newest === undefined ? !hasBit(mapped.used, block) : hasBit(newest.cleared, block);
  if (isHole) return 0;
  const { device, offsetBytes } = pool.locate((newest === undefined ? mapped.extent : newest.journal)!);
  const bytes = new Uint8Array(BLOCK_BYTES);
  await device.read(offsetBytes + block * BLOCK_BYTES, bytes);
  const [fill] = bytes;
  if (!bytes.every((byte) => byte === fill)) throw new Error(`block ${block} of ${mapped.index} is torn`);
  return fill!;
}

/** The fills of a file's first blocks. */
export async function readFile(ask: Ask, pool: ExtentPool, file: number, extents: number): Promise<number[]> {
  const fills: number[] = [];
  const { extents: mapped } = await ask('Map_Extents', { file, from: 0, count: extents });
  for (const one of mapped) {
    for (let block = 0; block < BLOCKS; block++) fills.push(await readBlock(pool, one, block));
  }
  return fills;
}

/** The plain model: the same file as an array of fills. */
export function applied(fills: readonly number[], changes: readonly Change[], file: number): number[] {
  const after = [...fills];
  for (const change of changes) {
    if (change.file !== file) continue;
    for (const [block, fill] of Object.entries(change.blocks))
      after[change.index * BLOCKS + Number(block)] = fill ?? 0;
  }
  return after;
}
