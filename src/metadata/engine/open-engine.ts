/**
 * Opens the engine in a range. For writing, what a crash has left is made whole before anything else is written: copies
 * that are no good, of whatever an opening reads, are made from the good ones.
 */
import { MAX_TRANSACTION_BYTES } from './contract.js';
import { EmbeddedEngine } from './embedded-engine.js';
import type { Warn } from './findings.js';
import { FreePages } from './free-pages.js';
import { BLOCK_BYTES, type EngineRange } from './layout.js';
import { LogWriter } from './log-writer.js';
import { Overlay } from './overlay.js';
import { PageStore } from './page-store.js';
import { type FoundEngine, mendCopies, readEngine } from './recovery.js';
import { readOnlyRefusal } from './refusals.js';

export interface OpenEngineOptions {
  /** Nothing is written, nothing is mended, and commits are refused. */
  readonly readOnly?: boolean;
  /** Is told of copies that were damaged, once each. */
  readonly warn: Warn;
  /** Memory for pages of the tree: 32 MiB unless said otherwise. */
  readonly cacheBytes?: number;
  /** Memory for what is not in the tree yet, about: 16 MiB unless said otherwise. */
  readonly overlayBytes?: number;
}

const MIB = 1024 * 1024;
const LOG_SHARES = 4;

/**
 * Throws VOLUME_NOT_FOUND where there is none; UNSUPPORTED for features that are not known; METADATA_DAMAGED, with image
 * and offset, where neither copy of something is good.
 */
export async function openEngine(range: EngineRange, options: OpenEngineOptions): Promise<EmbeddedEngine> {
  const isReadOnly = options.readOnly === true || range.device.readOnly;
  // What a process that was killed has written may be there to be read, and not be durable: nobody is to be told what a
  // power cut takes back.
  if (!isReadOnly) await range.device.flush();
  const found = await readEngine(range);
  for (const { finding, isOfCrash } of found.mends) if (!isOfCrash) options.warn(finding);
  const { roCompat } = found.header;
  if (!isReadOnly && roCompat !== 0)
    throw readOnlyRefusal(
      range,
      `it has features that are not known here: ro_compat 0x${roCompat.toString(16)}`,
    );
  if (!isReadOnly) await mendCopies(found, found.mends);
  return engineOf(found, options, isReadOnly);
}

function engineOf(found: FoundEngine, options: OpenEngineOptions, isReadOnly: boolean): EmbeddedEngine {
  const { halves, header, root, map, log } = found;
  const { uuid, layout } = header;
  const { warn, cacheBytes = 32 * MIB, overlayBytes = 16 * MIB } = options;
  const overlay = new Overlay();
  for (const { changes } of log.records) for (const [key, value] of changes) overlay.set(key, value);
  // Higher than all that is there: what is written from now on is told from what an earlier opening left.
  const epoch = log.epoch + 1;
  const transactionLimitBytes = Math.min(MAX_TRANSACTION_BYTES, layout.logBytes / LOG_SHARES - BLOCK_BYTES);
  // The two know each other: the log says what failed, and asks for the root.
  let engine: EmbeddedEngine | null = null;
  const writer = new LogWriter(halves, root.logPosition, log.head, {
    layout,
    uuid,
    epoch,
    recordLimitBytes: transactionLimitBytes,
    rootGeneration: () => engine?.generation ?? root.generation,
    failed: (error) => engine?.fail(error),
  });
  engine = new EmbeddedEngine({
    halves,
    layout,
    uuid,
    epoch,
    root,
    overlay,
    log: isReadOnly ? null : writer,
    pages: new PageStore(halves, { uuid, layout, cacheBytes, warn }),
    space: new FreePages(map, root.generation),
    transactionLimitBytes,
    overlayLimitBytes: overlayBytes,
  });
  return engine;
}
