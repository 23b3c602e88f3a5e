/** A moment of a volume: what is said to make one that is kept, and what is told of it. */
import type { ChainPolicy } from './layers/chain.js';
import type { MomentKind } from './layers/records.js';

export interface NewMoment {
  readonly name: string;
  /** 16 bytes, in hexadecimal; a random one unless said otherwise. */
  readonly id?: string;
  readonly kind: MomentKind;
  readonly onOverflow: ChainPolicy;
  /** Of its layer, in words of the store. */
  readonly place: string;
  /** Of its layer; null: as many as there can be. */
  readonly layerBytes: number | null;
}

export interface MomentStatus {
  readonly name: string;
  readonly kind: MomentKind;
  readonly state: 'good' | 'unusable';
  /** Why it is unusable. */
  readonly why: string | null;
  readonly createdMs: number;
  /** Of blocks that were changed since; null: of a mark nobody asks that, and it costs a look at all that it has. */
  readonly changedBytes: number | null;
  /** What its layers take, and may take. */
  readonly usedBytes: number;
  readonly capacityBytes: number;
}

/** Of one that can be read. */
export type MomentListener = (name: string, change: 'made' | 'removed') => Promise<void>;
