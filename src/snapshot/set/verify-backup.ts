/**
 * Reads the content of a backup and of all that it builds on, or a random share of it, and tells which pieces are not what
 * was written.
 */
import type { BackupLayer } from './backup-layer.js';
import type { BackupReader } from './backup-reader.js';
import { isDamage } from './damage.js';

/** Random numbers in [0, 1) that can be had again. */
export interface SeededSource {
  readonly seed: number;
  next(): number;
}

export interface Subset {
  /** Of the pieces of each layer; at least one. */
  readonly percent: number;
  readonly random: SeededSource;
}

export interface VerifyOptions {
  /** null: all. */
  readonly subset?: Subset | null;
  readonly signal?: AbortSignal;
  readonly onProgress?: (doneBytes: number, totalBytes: number) => void;
  /** Layers that were verified with this before are not read again: several backups build on one. */
  readonly seen?: SeenLayers;
}

export interface Damage {
  readonly file: string;
  /** Bytes of the volume; null: of all that the file tells of. */
  readonly offsetBytes: number | null;
  readonly lengthBytes: number | null;
  readonly reason: string;
}

export interface Verification {
  readonly checkedPieces: number;
  readonly checkedBytes: number;
  readonly damaged: readonly Damage[];
  /** null: all was checked. */
  readonly subset: { readonly percent: number; readonly seed: number } | null;
}

type LayerResult = Omit<Verification, 'subset'>;

/** What was found of layers, by the id of their backup. */
export class SeenLayers {
  readonly byId = new Map<string, LayerResult>();
}

/** @throws what `signal` is aborted with; UserError where the content cannot be read at all. */
export async function verifyBackup(reader: BackupReader, options: VerifyOptions = {}): Promise<Verification> {
  const { subset = null, seen = new SeenLayers(), onProgress } = options;
  const totalBytes = reader.layers.reduce((sum, { record }) => sum + record.dataBytes, 0);
  let before = 0;
  const results: LayerResult[] = [];
  for (const layer of reader.layers) {
    const tell = (bytes: number) => onProgress?.(before + bytes, totalBytes);
    const result = seen.byId.get(layer.record.id) ?? (await verifyLayer(layer, { ...options, subset }, tell));
    seen.byId.set(layer.record.id, result);
    results.push(result);
    before += layer.record.dataBytes;
    tell(0);
  }
  return {
    checkedPieces: results.reduce((sum, { checkedPieces }) => sum + checkedPieces, 0),
    checkedBytes: results.reduce((sum, { checkedBytes }) => sum + checkedBytes, 0),
    damaged: results.flatMap(({ damaged }) => damaged),
    subset: subset === null ? null : { percent: subset.percent, seed: subset.random.seed },
  };
}

async function verifyLayer(
  layer: BackupLayer,
  { subset, signal }: VerifyOptions,
  onBytes: (passedBytes: number) => void,
): Promise<LayerResult> {
  const damaged: Damage[] = [];
  let checkedPieces = 0;
  let checkedBytes = 0;
  let passedBytes = 0;
  const isChosen = chooser(layer, subset ?? null);
  for (let index = 0; index < layer.pieces.count; index++) {
    if (layer.pieces.isZero(index)) continue;
    const length = layer.pieces.end(index) - layer.pieces.start(index);
    passedBytes += length;
    if (!isChosen()) continue;
    signal?.throwIfAborted();
    checkedPieces += 1;
    checkedBytes += length;
    const reason = await faultOf(layer, index);
    const place = { file: layer.places.data, offsetBytes: layer.pieces.start(index), lengthBytes: length };
    if (reason !== null) damaged.push({ ...place, reason });
    onBytes(passedBytes);
  }
  return { checkedPieces, checkedBytes, damaged };
}

async function faultOf(layer: BackupLayer, index: number): Promise<string | null> {
  try {
    await layer.content(index);
    return null;
  } catch (error) {
    if (!isDamage(error)) throw error;
    return error.message;
  }
}

/** Asked once for each piece that has content, in order: exactly the share of them is chosen, each as likely as any. */
function chooser({ pieces }: BackupLayer, subset: Subset | null): () => boolean {
  if (subset === null) return () => true;
  let left = 0;
  for (let index = 0; index < pieces.count; index++) if (!pieces.isZero(index)) left += 1;
  let wanted = Math.max(1, Math.round((left * subset.percent) / 100));
  return () => {
    const isChosen = subset.random.next() * left < wanted;
    left -= 1;
    if (isChosen) wanted -= 1;
    return isChosen;
  };
}
