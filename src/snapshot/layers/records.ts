/**
 * What is written down of the moments that are kept, and of their layers; and how that changes. Where it is written is for a
 * `SnapshotStore`.
 */
import { randomBytes } from 'node:crypto';
import type { BlockDevice } from '../../device/contract.js';
import type { ChainPolicy } from './chain.js';

/** Its device is the store's, which knows it by the id. */
export interface LayerRecord {
  /** 16 bytes, in hexadecimal: the id of its groups, too. */
  readonly id: string;
  /** So many groups were durable when this was written. */
  readonly groups: number;
  /** Where it is, in words of the store. */
  readonly place: string;
}

/**
 * `snapshot`: what its moment held can be read; `volatile`: that too, until the volume is closed, and it is not written down;
 * `mark`: what was changed since is known, and no more. Those of a kind are a chain of their own.
 */
export type MomentKind = 'snapshot' | 'volatile' | 'mark';

export interface MomentRecord {
  readonly name: string;
  /** 16 bytes, in hexadecimal. */
  readonly id: string;
  readonly kind: MomentKind;
  /** Milliseconds since 1970. */
  readonly createdMs: number;
  readonly onOverflow: ChainPolicy;
  /** Its own, and those of moments after it that are gone, in the order of time. */
  readonly layers: readonly LayerRecord[];
  /** Why what it says cannot be had any more; null: it is good. */
  readonly unusable: string | null;
}

export interface SnapshotStore {
  /** In the order of time. Durable when it returns; when it fails, nobody knows which counts. */
  save(records: readonly MomentRecord[]): Promise<void>;
  /** Of this many bytes, at least; its name is durable when it returns. */
  createLayer(layer: LayerRecord, bytes: number): Promise<BlockDevice>;
  openLayer(layer: LayerRecord): Promise<BlockDevice>;
  /** It cannot be opened any more, durably; takes no room. One that is not there is none. */
  removeLayer(layer: LayerRecord): Promise<void>;
}

/** Its layers are those of the moment of its kind before it that is good, where there is one. */
export function withoutMoment(records: readonly MomentRecord[], id: string): MomentRecord[] {
  const at = records.findIndex((record) => record.id === id);
  const gone = records[at];
  if (gone === undefined) return [...records];
  const before = records.findLastIndex(
    (record, index) => index < at && record.kind === gone.kind && record.unusable === null,
  );
  return records.flatMap((record, index) => {
    if (index === at) return [];
    return index === before ? [{ ...record, layers: [...record.layers, ...gone.layers] }] : [record];
  });
}

/** It stays on the list, where people see what became of it, and has no layers any more. */
export function withUnusable(records: readonly MomentRecord[], id: string, why: string): MomentRecord[] {
  const at = records.findIndex((record) => record.id === id);
  const record = records[at];
  if (record === undefined) return [...records];
  return withoutMoment(records, id).toSpliced(at, 0, { ...record, layers: [], unusable: why });
}

/** With what is known by now to be durable. */
export function withGroups(
  records: readonly MomentRecord[],
  groupsOf: (id: string) => number | undefined,
): MomentRecord[] {
  return records.map((record) => ({
    ...record,
    layers: record.layers.map((layer) => ({ ...layer, groups: groupsOf(layer.id) ?? layer.groups })),
  }));
}

/** Of a moment, or of a layer. */
export function newId(): string {
  return randomBytes(16).toString('hex');
}
