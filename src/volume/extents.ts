/**
 * The files of a volume of the format `extents`: its metadata server over its engine, and its pool, over a volume that is
 * open. Whoever works with files puts a client over it (extents-store.ts).
 *
 * - Opened for reading, not a byte is written: what the server has to take back or to note stays in memory
 *   (overlay-engine.ts), and hardened transactions stay to be completed.
 * - Opened for writing, damaged copies of superblocks and of what the engine reads are mended before anything else.
 * - It is closed before the volume: the server, then the engine, then the images of its own.
 */
import { UserError } from '../errors.js';
import type { PoolRegions } from '../extents/format/pool-regions.js';
import type { ExtentsSuperblock, Role } from '../extents/format/superblock.js';
import type { LocalFlagsFile } from '../extents/index.js';
import type { MetadataEngine } from '../metadata/engine/contract.js';
import type { EngineRange } from '../metadata/engine/layout.js';
import { openEngine } from '../metadata/engine/open-engine.js';
import { OverlayEngine } from '../metadata/engine/overlay-engine.js';
import type { MetadataService } from '../metadata/messages.js';
import { readConfig } from '../metadata/server/format.js';
import { MetadataServer } from '../metadata/server/server.js';
import { closeFailed } from './closing.js';
import { type ExtentsDevices, openExtentsDevices, tellOrMend } from './extents-devices.js';
import { localFlagsOf } from './local-flags.js';
import type { Located } from './locate.js';
import type { Volume } from './model.js';
import { closeInOrder } from './stack.js';

export interface OpenExtentsOptions {
  readonly warn: (message: string) => void;
  /** Where the images of its own are, if not where the manifest says. */
  readonly metadata?: string | undefined;
  readonly journalImage?: string | undefined;
  /** How long a client that says nothing is taken for alive; 60 s unless said otherwise. */
  readonly leaseMs?: number;
  /** A client has gone and left transactions: somebody is to take them over. */
  readonly onOrphans?: (transactions: readonly number[]) => void;
}

export interface ExtentsVolume {
  readonly service: MetadataService;
  readonly server: MetadataServer;
  /** Closed with it. */
  readonly engine: MetadataEngine;
  readonly pool: PoolRegions;
  readonly layout: ExtentsSuperblock;
  readonly isReadOnly: boolean;
  /** Where a client of this machine may keep flags; null: nowhere. Closed with it. */
  readonly localFlags: LocalFlagsFile | null;
  /** Journal and data lie on one target, whose loss is the loss of both. */
  readonly isJournalShared: boolean;
  /** Waits for what the server was asked. Nobody may ask any more. Closing twice is allowed; the volume stays open. */
  close(): Promise<void>;
}

/**
 * One name for all commands: only one process at a time has a volume open for writing, and the next one goes on with what
 * the one before has kept.
 */
export const LOCAL_CLIENT = 'holdfast';

const LEASE_MS = 60_000;

/**
 * Throws UNSUPPORTED for a volume of another format, or a later one; NOT_ASSEMBLED where an image of its own is missing or
 * another volume's; METADATA_DAMAGED where nothing whole is left.
 */
export async function openExtents(volume: Volume, options: OpenExtentsOptions): Promise<ExtentsVolume> {
  const { located, device } = volume;
  assertOfExtents(volume);
  const access = device.readOnly ? 'read' : 'write';
  const devices = await openExtentsDevices(located, device, { ...options, access });
  const localFlags = localFlagsOf(located, LOCAL_CLIENT, device.readOnly);
  const steps: (() => Promise<unknown>)[] = [() => devices.close(), async () => localFlags?.close()];
  try {
    await tellOrMend(devices, access, options.warn);
    const engine = await engineOf(devices.range, device.readOnly, options.warn);
    steps.unshift(() => engine.close());
    await assertFits(located, devices, engine);
    const { leaseMs = LEASE_MS, onOrphans } = options;
    const server = await MetadataServer.open(engine, {
      nowMs,
      leaseMs,
      ...(onOrphans === undefined ? {} : { onOrphans }),
    });
    const timer = setInterval(() => server.endLeases(), leaseMs / 4);
    timer.unref();
    steps.unshift(
      async () => clearInterval(timer),
      () => server.close(),
    );
    let closing: Promise<void> | null = null;
    return {
      service: server,
      server,
      engine,
      pool: devices.pool,
      layout: devices.volume.found.superblock,
      isReadOnly: device.readOnly,
      localFlags,
      isJournalShared: devices.journal === null,
      close: () => (closing ??= closeInOrder(steps)),
    };
  } catch (error) {
    // Why it could not be opened is what the user must hear.
    await closeFailed(`the extents of ${located.label}`, () => closeInOrder(steps), options.warn);
    throw error;
  }
}

/** Milliseconds since 1970, that never go back: leases are counted with it. */
function nowMs(): number {
  return Math.floor(performance.timeOrigin + performance.now());
}

function assertOfExtents({ role, label }: Volume): void {
  if (role === 'volume') return;
  throw new UserError('UNSUPPORTED', `${label} is of the format raw: it holds no files`, {
    hint: 'holdfast read and write have its bytes; holdfast create --format extents makes a volume of files',
  });
}

/** For reading: over what is there, in memory. */
export async function engineOf(
  range: EngineRange,
  readOnly: boolean,
  warn: (message: string) => void,
): Promise<MetadataEngine> {
  const engine = await openEngine(range, { readOnly, warn: ({ message }) => warn(message) });
  return readOnly ? new OverlayEngine(engine) : engine;
}

/** Throws METADATA_DAMAGED where the metadata is of another pool than there is. */
export async function assertFits(
  { label }: Located,
  { pool, range }: Pick<ExtentsDevices, 'pool' | 'range'>,
  engine: Pick<MetadataEngine, 'get'>,
): Promise<void> {
  const { extents, blocksPerExtent } = await readConfig(engine);
  const blocks = pool.extentBytes / pool.blockBytes;
  if (extents === pool.extents && blocksPerExtent === blocks) return;
  throw new UserError(
    'METADATA_DAMAGED',
    `${label}: its metadata is of ${extents} extents of ${blocksPerExtent} blocks, its superblock of ${pool.extents} of ${blocks}`,
    {
      hint: 'put good copies of its images in their places',
      details: { image: range.device.name, offsetBytes: range.offset },
    },
  );
}

const RAW_HINTS = {
  read: 'holdfast file read has the bytes of a file; --as-raw reads those of the volume as they are',
  written: 'holdfast file write writes a file',
} as const;

/** Throws UNSUPPORTED for a volume of files: who writes its bytes breaks them, and to who reads they say little. */
export function refuseFiles({ label, role }: Volume, does: keyof typeof RAW_HINTS): void {
  if (role !== null) throw heldAsFiles(label, role, does);
}

export function heldAsFiles(label: string, role: Role, does: keyof typeof RAW_HINTS): UserError {
  const what = role === 'volume' ? 'holds files' : `is the ${role} image of a volume of files`;
  return new UserError('UNSUPPORTED', `${label} ${what}: it is not ${does} as one disk`, {
    hint: RAW_HINTS[does],
  });
}
