/** The layers of holdfast that are explored by themselves (`crash explore --self`), from the bottom up. */
export const LAYER_NAMES = ['raid', 'metadata', 'extents', 'replication', 'snapshot'] as const;

export type LayerName = (typeof LAYER_NAMES)[number];
