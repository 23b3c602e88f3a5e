/**
 * The epochs that are not in the image yet, as layers over it, the newest on top:
 *
 *   current    gathered, has no end
 *   ended      has its end, which is not durable yet; several
 *   waiting    durable, laid over one another
 *   applying   being written to the image, which is not flushed yet
 *
 * Invariant: a layer is taken away when the image has its content and is flushed, not before: what reads it sees the same
 * before and after.
 */
import { epochCost } from './epoch-record.js';
import { Layer, type Payload } from './layer.js';
import type { EpochPoint } from './marks.js';

export interface Epoch {
  readonly point: EpochPoint;
  readonly layer: Layer;
}

export class Epochs {
  private current = new Layer();
  /** Bytes of the log that the current epoch takes at most, with its end. */
  private costBytes = epochCost(0);
  private ended: Epoch[] = [];
  private waiting: Epoch | null = null;
  private applying: Epoch | null = null;

  /** `last`: the end of the last epoch that is in the image, or in `found`. `found`: what is not. */
  constructor(
    private last: EpochPoint,
    found: Layer | null = null,
  ) {
    if (found !== null) this.waiting = { point: last, layer: found };
    this.durablePoint = last;
  }

  /** The end of the last epoch that is durable. */
  durablePoint: EpochPoint;

  /** Number of the current epoch. */
  get number(): number {
    return this.last.epoch + 1;
  }

  get isEmpty(): boolean {
    return this.current.isEmpty;
  }

  get gatheredBytes(): number {
    return this.costBytes;
  }

  /** Epochs that have an end and are not durable yet. */
  get endedCount(): number {
    return this.ended.length;
  }

  get isApplied(): boolean {
    return this.waiting === null && this.applying === null;
  }

  /** For `partsOf`. */
  layers(): Layer[] {
    const older = [this.waiting, this.applying].flatMap((each) => (each === null ? [] : [each.layer]));
    return [this.current, ...this.ended.map(({ layer }) => layer).reverse(), ...older];
  }

  put(start: number, end: number, payload: Payload | null, cost: number): void {
    this.current.put(start, end, payload);
    this.costBytes += cost;
  }

  /** The current epoch ends here; the next begins. */
  end(atMs: number): EpochPoint {
    this.last = { epoch: this.number, atMs };
    this.ended.push({ point: this.last, layer: this.current });
    this.current = new Layer();
    this.costBytes = epochCost(0);
    return this.last;
  }

  /** All up to this epoch are durable. */
  durable(epoch: number): void {
    for (
      let first = this.ended[0];
      first !== undefined && first.point.epoch <= epoch;
      first = this.ended[0]
    ) {
      this.ended.shift();
      const layer = this.waiting?.layer ?? new Layer();
      layer.merge(first.layer);
      this.waiting = { point: first.point, layer };
      this.durablePoint = first.point;
    }
  }

  /** What is durable and waits, to be applied; it stays visible until `applied`. */
  take(): Epoch | null {
    this.applying = this.waiting;
    this.waiting = null;
    return this.applying;
  }

  applied(): void {
    this.applying = null;
  }
}
