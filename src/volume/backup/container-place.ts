/**
 * Where a backup keeps what is overwritten before it is saved (online backup, figure 6): a file beside the volume or on another
 * disk, memory, a range of the volume itself, or nowhere.
 */
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { fileError } from '../../device/device-errors.js';
import { MemoryDevice } from '../../device/memory.js';
import { openImage } from '../../device/open-image.js';
import { BLOCK_BYTES, type BlockRange } from '../../replication/blocks.js';
import type { OverflowPolicy } from '../../snapshot/backup/keeping.js';
import { SlotContainer } from '../../snapshot/container/slots.js';
import { newFolder } from '../beside.js';
import type { Volume } from '../model.js';
import { assertNotTaken } from '../snapshots/take-range.js';
import { assertFolder } from './assert-folder.js';
import { blocksOfContainer } from './container-range.js';

export const containerSchema = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('beside') }),
  z.object({ kind: z.literal('file'), path: z.string() }),
  z.object({ kind: z.literal('memory') }),
  z.object({ kind: z.literal('range'), offset: z.number().int(), length: z.number().int() }),
  z.object({ kind: z.literal('none') }),
]);

export type ContainerChoice = z.infer<typeof containerSchema>;

export interface OpenedContainer {
  /** null: there is none. */
  readonly container: SlotContainer | null;
  /** Blocks of the volume that are the container's: they are in no backup. */
  readonly own: BlockRange | null;
  close(): Promise<void>;
}

/** Sparse: it takes what is in it. */
const DEFAULT_FILE_BYTES = 1024 ** 3;
const DEFAULT_MEMORY_BYTES = 64 * 1024 * 1024;

const NOTHING: OpenedContainer = { container: null, own: null, close: async () => {} };

/** Of a volume that is written meanwhile. Throws USAGE, FILE_EXISTS, and what making a file throws. */
export async function openContainer(
  volume: Volume,
  choice: ContainerChoice,
  { sizeBytes, onOverflow }: { readonly sizeBytes: number | null; readonly onOverflow: OverflowPolicy },
): Promise<OpenedContainer> {
  const whole = Math.ceil(volume.device.size / BLOCK_BYTES) * BLOCK_BYTES;
  // Each block is kept once: one that is as long as the volume is never full.
  const wanted = (most: number) => Math.ceil((sizeBytes ?? most) / BLOCK_BYTES) * BLOCK_BYTES;
  const bytes = (most: number) => (onOverflow === 'grow' ? whole : Math.min(whole, wanted(most)));
  switch (choice.kind) {
    case 'none':
      return NOTHING;
    case 'memory':
      return inMemory(bytes(DEFAULT_MEMORY_BYTES));
    case 'range':
      return ofVolume(volume, choice);
    case 'file':
      await assertFolder(choice.path);
      return inFile(choice.path, bytes(DEFAULT_FILE_BYTES));
    case 'beside': {
      const directory = await newFolder(volume.located, 'backup', 'a container');
      await mkdir(directory, { recursive: true, mode: 0o700 }).catch((error: unknown) => {
        throw fileError(directory, 'made', error);
      });
      const path = join(directory, 'container');
      // What a process has left that was killed is of no use to anybody.
      await rm(path, { force: true });
      return inFile(path, bytes(DEFAULT_FILE_BYTES));
    }
  }
}

function inMemory(length: number): OpenedContainer {
  const device = new MemoryDevice(length, { name: 'memory' });
  return {
    container: new SlotContainer({ device, offset: 0, length }),
    own: null,
    close: () => device.close(),
  };
}

/** It has no name while it is used: what has the name later is not ours to remove, and a process that is killed leaves nothing. */
async function inFile(path: string, length: number): Promise<OpenedContainer> {
  const device = await openImage(path, { readOnly: false, create: { size: length } });
  try {
    await rm(path);
    return {
      container: new SlotContainer({ device, offset: 0, length }),
      own: null,
      close: () => device.close(),
    };
  } catch (error) {
    await device.close();
    throw error;
  }
}

/** Below the gate: what is kept there is not written by way of it. */
function ofVolume(
  volume: Volume,
  { offset, length }: { readonly offset: number; readonly length: number },
): OpenedContainer {
  const own = blocksOfContainer(volume, { offset, length });
  assertNotTaken(volume, { offset, length });
  const { lower } = volume.moments!.gate;
  const container = new SlotContainer({ device: lower, offset, length });
  return {
    container,
    own,
    // Nothing is kept there before it is known that nobody uses it: only then is it ours to give back.
    close: async () => {
      if (container.keptEver > 0) await lower.trim(offset, length);
    },
  };
}
