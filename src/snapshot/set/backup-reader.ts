/**
 * The state of a volume at a backup, as a device that is only read: the overlay of the backup and all that it builds on.
 * Nothing is handed out that was not checked.
 */
import { byteLength, fillBuffers, scatter } from '../../device/buffers.js';
import type { Buffers, Extent } from '../../device/contract.js';
import { ExtentList } from '../../device/extent-list.js';
import { ReadOnlyDevice } from '../../device/read-only-device.js';
import { BackupLayer } from './backup-layer.js';
import type { BackupSet, GoodBackup } from './backup-set.js';
import { OverlayIndex, type Run } from './overlay-index.js';
import { PieceCache } from './piece-cache.js';

export class BackupReader extends ReadOnlyDevice {
  readonly #index: OverlayIndex;
  readonly #cache = new PieceCache();

  private constructor(
    /** The newest first. */
    readonly layers: readonly BackupLayer[],
  ) {
    const { places, record } = layers[0]!;
    super({ name: places.directory, size: record.sizeBytes, blockSize: 1 });
    this.#index = OverlayIndex.of(layers.map(({ pieces }) => pieces));
  }

  /** @throws what `BackupSet.chainOf` throws; UserError METADATA_DAMAGED, DATA_UNAVAILABLE. */
  static async open(set: BackupSet, name: string): Promise<BackupReader> {
    return new BackupReader(await openLayers(await set.chainOf(name)));
  }

  /** That content was cut off is told before any of it is used. @throws UserError DATA_UNAVAILABLE */
  async assertWhole(): Promise<void> {
    for (const layer of this.layers) await layer.assertWhole();
  }

  /** What the list of its pieces says of a range: the SHA-256 of its content, or that it is zeroes. null: only its content can tell. */
  known(offset: number, length: number): Uint8Array | 'zeroes' | null {
    const runs = [...this.#runs(offset, length)];
    const isZero = ({ layer, piece }: Run) => this.layers[layer]!.pieces.isZero(piece);
    if (runs.every(isZero)) return 'zeroes';
    const { layer, piece } = runs[0]!;
    const found = this.layers[layer]!.pieces.piece(piece);
    const isOne = runs.length === 1 && found.offset === offset && found.length === length;
    const isVisible = isOne && runs[0]!.start === offset && runs[0]!.end === offset + length;
    return isVisible && typeof found.content !== 'string' ? found.content.hash : null;
  }

  /** What of a range nobody used at its moment, or at those of the backups that it builds on: what was there is in none. */
  *unused(offset: number, length: number): Generator<{ readonly offset: number; readonly length: number }> {
    let at = offset;
    for (const { start, end, layer, piece } of this.#runs(offset, length)) {
      if (start > at) yield { offset: at, length: start - at };
      if (this.layers[layer]!.pieces.isUnused(piece)) yield { offset: start, length: end - start };
      at = end;
    }
    if (at < offset + length) yield { offset: at, length: offset + length - at };
  }

  read(offset: number, into: Buffers): Promise<void> {
    const length = byteLength(into);
    return this.guard.run('read', offset, length, async () => {
      let at = offset;
      for (const run of this.#runs(offset, length)) {
        fillBuffers(into, at - offset, run.start - at, 0);
        await this.#readRun(run, into, run.start - offset);
        at = run.end;
      }
      fillBuffers(into, at - offset, offset + length - at, 0);
    });
  }

  extents(offset: number, length: number): Promise<Extent[]> {
    return this.guard.ask(offset, length, [], async () => {
      const list = new ExtentList();
      let at = offset;
      for (const { start, end, layer, piece } of this.#runs(offset, length)) {
        list.add(at, start - at, 'hole');
        list.add(start, end - start, this.layers[layer]!.pieces.isZero(piece) ? 'hole' : 'data');
        at = end;
      }
      list.add(at, offset + length - at, 'hole');
      return list.list();
    });
  }

  override close(): Promise<void> {
    return this.guard.close(async () => {
      for (const layer of this.layers) await layer.close();
    });
  }

  /** The parts of runs that lie in the range. */
  *#runs(offset: number, length: number): Generator<Run> {
    const end = offset + length;
    for (let index = this.#index.firstEndingBehind(offset); index < this.#index.count; index++) {
      const run = this.#index.run(index);
      if (run.start >= end) return;
      yield { ...run, start: Math.max(run.start, offset), end: Math.min(run.end, end) };
    }
  }

  async #readRun({ start, end, layer, piece }: Run, into: Buffers, at: number): Promise<void> {
    const { pieces } = this.layers[layer]!;
    if (pieces.isZero(piece)) {
      fillBuffers(into, at, end - start, 0);
      return;
    }
    const from = pieces.start(piece);
    const content = await this.#cache.get(`${layer}:${piece}`, pieces.end(piece) - from, () =>
      this.layers[layer]!.content(piece),
    );
    scatter(content.subarray(start - from, end - from), into, at);
  }
}

async function openLayers(chain: readonly GoodBackup[]): Promise<BackupLayer[]> {
  const layers: BackupLayer[] = [];
  try {
    for (const backup of chain) layers.push(await BackupLayer.open(backup));
    return layers;
  } catch (error) {
    for (const layer of layers) await layer.close();
    throw error;
  }
}
